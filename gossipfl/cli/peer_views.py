"""Commands that show a peer: its status and its neighbours."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gossipfl.cli.options import HomeOption, JsonOption, tell

if TYPE_CHECKING:
    from pathlib import Path

    from gossipfl.peer.liveness import Liveness
    from gossipfl.peer.store.home import Home

__all__ = ["add_views"]

_LOOK_SECONDS: Final = 0.25


def add_views(app: typer.Typer) -> None:
    """Add the commands to those of ``gossipfl peer``."""
    for command in (status, peers, policy, log, page, keys):
        app.command()(command)


def status(*, home: HomeOption, json_output: JsonOption = False) -> None:
    """Show a peer's last reported status, and whether it runs.

    The exit code is 0 if it runs, 3 if it is stopped, 4 if it is starting, and 5 if it runs but its status is
    old.
    """
    from gossipfl.cli.display import conditions_now, status_heading, status_table
    from gossipfl.peer.liveness import EXIT_CODES

    place, values, liveness = _seen(home)
    found = {"running": liveness.state != "stopped", "state": liveness.state, "reason": liveness.reason}
    if values is None:
        tell(found, ["The peer is starting, and has not written a status yet."], as_json=json_output)
        raise typer.Exit(EXIT_CODES[liveness.state])
    with _damage_named(place):
        values = {**found, **values, "conditions": conditions_now(values, place.directory)}
        tell(values, [status_heading(values)], as_json=json_output)
        if not json_output:
            from rich.console import Console

            Console().print(status_table(values))
    raise typer.Exit(EXIT_CODES[liveness.state])


@contextmanager
def _damage_named(place: Home) -> Iterator[None]:
    """Name a status whose tables hold something else than those of a peer."""
    from gossipfl.errors import HomeError

    try:
        yield
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
        raise HomeError(
            f"{place.status} is damaged", got=f"{type(error).__name__}: {error}", remedy="Restart the peer."
        ) from error


def peers(*, home: HomeOption, json_output: JsonOption = False) -> None:
    """List a peer's neighbours and other connected peers, one a line.

    Where the peer is stopped, they are those of its last status.
    """
    place, values, liveness = _seen(home)
    listed: list[dict[str, Any]] = [] if values is None else values.get("peers", [])
    if json_output:
        tell(listed, [], as_json=True)
        return
    from rich.console import Console
    from rich.measure import Measurement

    from gossipfl.cli.display import peers_table

    if liveness.state != "running":
        typer.echo(f"The peer is {liveness.state}; these are the peers of its last status.", err=True)
    if not listed:
        typer.echo("No neighbours.")
        return
    with _damage_named(place):
        table = peers_table(listed)
    console = Console()
    # Ids and addresses are there to be copied, so they are never cut.
    unbounded = console.options.update(max_width=10_000)
    console.width = max(console.width, Measurement.get(console, unbounded, table).maximum)
    console.print(table, soft_wrap=True)


def policy(*, home: HomeOption, json_output: JsonOption = False) -> None:
    """Check the policy of a home once, whether its peer runs or not, and show what each condition reads.

    The exit code is 0 if training is allowed, and 1 if not.
    """
    import trio

    from gossipfl.peer.conditions import Conditions
    from gossipfl.peer.permission import Permissions
    from gossipfl.peer.policy.watching import PolicyWatch
    from gossipfl.peer.store.home import Home
    from gossipfl.settings import load_settings

    place = Home(home)
    place.require()
    settings = load_settings(place.settings).policy
    nobody = Permissions(lambda _: None, lambda _: None)
    decision = trio.run(PolicyWatch(settings, place.directory, nobody, Conditions()).check)
    lines = [f"{'✓' if each.holds else '✗'} {each.name}: {each.text}" for each in decision.findings]
    found = {
        "trains": decision.trains,
        "merge": settings.merge,
        "conditions": [each.to_values() for each in decision.findings],
    }
    said = "Training is allowed." if decision.trains else "Training waits."
    tell(found, [*(lines or ["[policy] sets no condition."]), said], as_json=json_output)
    raise typer.Exit(0 if decision.trains else 1)


def log(
    *,
    home: HomeOption,
    lines: Annotated[int, typer.Option("--lines", help="Lines to begin with; 0 for all.", min=0)] = 100,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with new lines, until Ctrl-C.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Print the log that `gossipfl peer run` keeps in the home, the newest lines last."""
    from gossipfl.cli.logs import text_of
    from gossipfl.errors import HomeError
    from gossipfl.files import named_errors
    from gossipfl.peer.store.home import Home

    place = Home(home)
    place.require()
    files = [
        each for number in (2, 1) if (each := place.log.with_name(f"{place.log.name}.{number}")).exists()
    ]
    with named_errors(f"the log of {home} cannot be read"):
        if not place.log.exists():
            raise HomeError(
                f"there is no log in {home}",
                remedy="It begins when the peer is run, unless log.file_megabytes is 0.",
            )
        text = "".join(each.read_text(errors="replace") for each in [*files, place.log])
        for line in text.splitlines()[-lines:]:
            typer.echo(line if json_output else text_of(line))
        if follow:
            with suppress(KeyboardInterrupt):
                for line in _new_lines(place.log):
                    typer.echo(line if json_output else text_of(line))


def _new_lines(path: Path) -> Iterator[str]:
    """Yield the lines that are added to a file, also once another has taken its place."""
    rest = ""
    with ExitStack() as opened:
        file = opened.enter_context(path.open(errors="replace"))
        file.seek(0, os.SEEK_END)
        while True:
            rest += file.read()
            *whole, rest = rest.split("\n")
            yield from whole
            with suppress(FileNotFoundError):  # for a moment, while it is rotated
                if path.stat().st_ino != os.fstat(file.fileno()).st_ino:
                    opened.close()
                    file = opened.enter_context(path.open(errors="replace"))
                    continue
            time.sleep(_LOOK_SECONDS)


def _seen(home: Path) -> tuple[Home, dict[str, Any] | None, Liveness]:
    """Return a home, its last status, and whether its peer runs; no status if a first start is under way."""
    from gossipfl.peer.liveness import liveness_of
    from gossipfl.peer.status import read_status
    from gossipfl.peer.store.home import Home

    place = Home(home)
    place.require()
    if not place.status.exists() and (place.is_running() or place.is_starting()):
        return place, None, liveness_of(place, None)
    values = read_status(place.status)
    return place, values, liveness_of(place, values)


def page(*, home: HomeOption, json_output: JsonOption = False) -> None:
    """Print the address of a running peer's page, with the token that its buttons need.

    The token is after #, which browsers send to nobody.
    """
    from gossipfl.errors import HomeError
    from gossipfl.peer.page.token import load_or_create_token

    place, values, liveness = _seen(home)
    address = None if values is None or liveness.state in ("stopped", "starting") else values.get("page")
    if address is None:
        raise HomeError(
            f"the peer in {home} has no page now",
            expected="a running peer with page.enabled",
            remedy=f"Start it with one: gossipfl peer run --home {home} --page-enabled",
        )
    token = load_or_create_token(place.page_token)
    shown = f"{address}#token={token}"
    tell({"address": address, "token": token, "url": shown}, [shown], as_json=json_output)


def keys(
    sought: Annotated[
        str | None,
        typer.Argument(
            help="A table such as network, a key such as exchange.period, or a word; all tables unless given.",
            show_default=False,
        ),
    ] = None,
    *,
    json_output: JsonOption = False,
) -> None:
    """Show what can be set in peer.toml: every key, what it takes, its default and meaning."""
    from gossipfl.cli.key_display import show_tables
    from gossipfl.settings import PeerSettings
    from gossipfl.settings.keys import key_tables

    show_tables(key_tables(PeerSettings), sought=sought, as_json=json_output)
