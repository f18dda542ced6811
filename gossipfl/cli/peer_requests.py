"""Commands that ask something of a running peer: to pause, to resume, to leave."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import typer

from gossipfl.cli.options import HomeOption, JsonOption, tell

if TYPE_CHECKING:
    from pathlib import Path

    from gossipfl.peer.store.home import Home

__all__ = ["add_requests"]

_PAUSE_SECONDS: Final = 15.0
_LEAVE_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.1


def add_requests(app: typer.Typer) -> None:
    """Add the commands to those of ``gossipfl peer``."""
    for command in (pause, resume, leave):
        app.command()(command)


def pause(*, home: HomeOption, json_output: JsonOption = False) -> None:
    """Stop a peer's training and merging, until it is resumed; it stays in the network.

    It exchanges no models meanwhile, goes on exchanging views, and keeps its model. This holds after a restart
    too.
    """
    _set_paused(home, paused=True, json_output=json_output)


def resume(*, home: HomeOption, json_output: JsonOption = False) -> None:
    """Let a paused peer train and merge again."""
    _set_paused(home, paused=False, json_output=json_output)


def leave(*, home: HomeOption, json_output: JsonOption = False) -> None:
    """Say farewell to a running peer's neighbours, save its model and end it.

    Its neighbours forget it at once, and count no failures. It can be started again.
    """
    from gossipfl.errors import HomeError
    from gossipfl.peer.control import request_leave
    from gossipfl.peer.status import read_status

    place = _home(home)
    if not place.is_running():
        raise HomeError(f"the peer in {home} is not running", remedy="A stopped peer has left already.")
    request_leave(place.requests, incarnation=read_status(place.status)["incarnation"])
    _wait(lambda: not place.is_running(), "the peer has not ended", home, seconds=_LEAVE_SECONDS)
    values = read_status(place.status)
    left = {key: values[key] for key in ("peer_id", "age", "saved_age", "metrics")}
    said = (
        f"Left at age {values['age']}; the model of age {values['saved_age']} is kept in {place.checkpoint}."
    )
    tell(left, [said], as_json=json_output)


def _set_paused(home: Path, *, paused: bool, json_output: bool) -> None:
    from gossipfl.peer.control import request_pause
    from gossipfl.peer.status import read_status

    place = _home(home)
    request_pause(place.requests, paused=paused)

    def is_done() -> bool:
        conditions = read_status(place.status)["conditions"] if place.status.exists() else []
        return any(each["name"] == "paused" for each in conditions) == paused or not place.is_running()

    runs = place.is_running()
    if runs:
        _wait(is_done, f"the peer has not {'paused' if paused else 'resumed'}", home, seconds=_PAUSE_SECONDS)
    said = "Paused: it neither trains nor merges." if paused else "Resumed."
    tell(
        {"paused": paused, "running": runs},
        [said if runs else f"{said} It is not running."],
        as_json=json_output,
    )


def _wait(condition: Callable[[], bool], what: str, home: Path, *, seconds: float) -> None:
    from gossipfl.errors import HomeError

    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise HomeError(
                f"{what} within {seconds:.0f} s",
                remedy=f"It will, once it has time to. See: gossipfl peer status --home {home}",
            )
        time.sleep(_LOOK_SECONDS)


def _home(home: Path) -> Home:
    from gossipfl.peer.store.home import Home

    place = Home(home)
    place.require()
    return place
