"""Running a peer in the foreground: signals, the live view, and plain lines for logs and machines."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import trio
from rich.console import Console
from rich.live import Live

from gossipfl.cli.display import end_line, status_heading, status_line, status_table
from gossipfl.cli.logs import ALREADY_SHOWN, as_logged, logging_to, use_settings
from gossipfl.cli.terminal import may_draw
from gossipfl.errors import GossipflError
from gossipfl.files import named_errors
from gossipfl.nurseries import naming_the_first_error
from gossipfl.peer import Home, Peer
from gossipfl.peer.task_paths import with_task_paths
from gossipfl.peer.threads import wait_for_abandoned
from gossipfl.settings import PeerSettings, with_modules

__all__ = ["run_peer", "with_paths_of_flags"]

logger = logging.getLogger(__name__)

_LIVE_SECONDS = 0.5
_LINE_SECONDS = 5.0


def run_peer(
    home: Path,
    *,
    settings: PeerSettings,
    read_settings: Callable[[], PeerSettings],
    on_ready: Callable[[], None],
    json_output: bool,
    plain: bool,
    until_stdin_ends: bool = False,
) -> None:
    """Run a peer until SIGINT or SIGTERM, or until standard input ends, and show what it does.

    On SIGHUP, settings are read again; if its terminal has gone, the peer stops instead.

    Parameters
    ----------
    read_settings : callable
        Reads the settings again.
    on_ready : callable
        Called once the peer runs.

    Raises
    ------
    GossipflError
        If the peer cannot start, or cannot go on.
    """
    with logging_to(Home(home).log, settings.log):
        _run_logged(
            home,
            settings,
            read_settings,
            on_ready,
            json_output=json_output,
            plain=plain,
            until_stdin_ends=until_stdin_ends,
        )


def with_paths_of_flags(
    settings: PeerSettings, overrides: Mapping[str, Mapping[str, Any]], home: Path
) -> PeerSettings:
    """Return settings whose task's paths are relative to the current directory where flags give them."""
    given = overrides.get("task", {}).get("options", {})
    if not given:
        return settings
    resolved = with_task_paths(with_modules(settings, home), Path.cwd(), only=given)
    return settings.model_copy(update={"task": resolved.task})


def _run_logged(
    home: Path,
    settings: PeerSettings,
    read_settings: Callable[[], PeerSettings],
    on_ready: Callable[[], None],
    *,
    json_output: bool,
    plain: bool,
    until_stdin_ends: bool,
) -> None:
    peer = Peer(home, settings=settings)
    live = may_draw() and not plain and not json_output
    with naming_the_first_error(), named_errors("cannot start the event loop"):
        trio.run(
            partial(
                _run,
                peer,
                read_settings,
                on_ready=on_ready,
                live=live,
                json_output=json_output,
                until_stdin_ends=until_stdin_ends,
            )
        )
    if not wait_for_abandoned():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


async def _run(
    peer: Peer,
    read_settings: Callable[[], PeerSettings],
    *,
    on_ready: Callable[[], None],
    live: bool,
    json_output: bool,
    until_stdin_ends: bool,
) -> None:
    had_terminal, reason = sys.stdout.isatty(), ""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:

            async def stop_on_signal() -> None:
                async for number in signals:
                    if number == signal.SIGHUP and not (had_terminal and not sys.stdout.isatty()):
                        _reload(peer, read_settings)
                    else:
                        stop(f" on {signal.Signals(number).name}")

            async def stop_at_the_end_of_stdin() -> None:
                await trio.to_thread.run_sync(  # type: ignore[call-arg]
                    _read_to_the_end, sys.stdin.fileno(), abandon_on_cancel=True
                )
                stop(" as standard input ended")

            def stop(why: str) -> None:
                nonlocal reason
                reason = why
                peer.stop()
                nursery.cancel_scope.cancel()

            async def show() -> None:
                await peer.ready.wait()
                on_ready()
                await (_show_live(peer) if live else _print_lines(peer, json_output=json_output))

            nursery.start_soon(stop_on_signal)
            if until_stdin_ends:
                nursery.start_soon(stop_at_the_end_of_stdin)
            nursery.start_soon(show)
            await peer.run()
            nursery.cancel_scope.cancel()
    if peer.ready.is_set():
        values = peer.status().to_dict()
        stop_after = peer.settings.rounds.stop_after
        reason = reason or (" by gossipfl peer leave" if peer.has_left else "")
        said = end_line(values, peer.home.checkpoint, stop_after=stop_after, reason=reason)
        logger.info("%s", said, extra={ALREADY_SHOWN: True})
        with suppress(OSError):  # whoever read has left
            print(
                json.dumps(values) if json_output else said if live else as_logged(said, __name__), flush=True
            )


def _reload(peer: Peer, read_settings: Callable[[], PeerSettings]) -> None:
    """Apply settings that have changed; if any is wrong, or may not change now, none is."""
    try:
        settings = read_settings()
        peer.reload(settings)
    except GossipflError as error:
        logger.warning("the settings were not reloaded: %s", error)
    else:
        use_settings(settings.log)


def _read_to_the_end(descriptor: int) -> None:
    while os.read(descriptor, 65536):
        pass


async def _show_live(peer: Peer) -> None:
    print(status_heading(peer.status().to_dict()), flush=True)
    with Live(console=Console(), auto_refresh=False) as display:
        while True:
            if may_draw():  # it may have been sent into the background since
                display.update(status_table(peer.status().to_dict()), refresh=True)
            await trio.sleep(_LIVE_SECONDS)


async def _print_lines(peer: Peer, *, json_output: bool) -> None:
    if not json_output:
        for address in peer.status().addresses:
            print(as_logged(f"listening at {address}", __name__), flush=True)
    while True:
        values = peer.status().to_dict()
        try:
            print(json.dumps(values) if json_output else as_logged(status_line(values), __name__), flush=True)
        except BrokenPipeError:  # whoever read has left, as in `gossipfl peer run | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            peer.stop()
            return
        await trio.sleep(_LINE_SECONDS)
