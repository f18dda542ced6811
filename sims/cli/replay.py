"""``gossipfl sim replay``: recorded runs of real peers, computed again."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from sims.replay import ReplayReport

__all__ = ["PeerDirectories", "replay"]

PeerDirectories = Annotated[
    list[Path],
    typer.Argument(help="Homes of all the peers of one network, running or not.", show_default=False),
]
_COLOURS = {"identical": "green", "within tolerance": "green", "differs": "red", "no checkpoint": "yellow"}


def replay(
    peer_dirs: PeerDirectories,
    *,
    batched: Annotated[
        bool, typer.Option("--batched", help="Many rows at once, as in simulations; not bit for bit.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compute the models of real peers again from their records, and compare them with their checkpoints.

    One row at a time, on the machine of the run, they agree bit for bit; batched, within 1e-4 relative. Exit
    code 1 if a peer's does not.
    """
    from sims import replay as replaying

    report = replaying.replay(peer_dirs, batched=batched)
    if json_output:
        typer.echo(json.dumps(report.to_dict()))
    else:
        from rich.console import Console

        Console().print(_table(report))
        for note in report.notes:
            typer.echo(f"Note: {note}")
    sys.exit(0 if report.equal else 1)


def _table(report: ReplayReport) -> Table:
    """Lay out a report: a row for each peer."""
    from rich.table import Table

    way = f"batched in {report.waves} waves" if report.batched else "a row at a time"
    table = Table(
        title=f"{report.events} events replayed {way}, {report.seconds:.1f} s", title_justify="left"
    )
    table.add_column("peer", no_wrap=True)
    table.add_column("home", overflow="fold")
    for heading in ("starts", "events", "left out", "max abs diff", "max rel diff"):
        table.add_column(heading, justify="right")
    table.add_column("verdict", no_wrap=True)
    for peer in report.peers:
        table.add_row(
            f"…{peer.peer[-8:]}",
            str(peer.home),
            str(peer.starts),
            str(peer.events),
            str(peer.left_out),
            _number(peer.max_absolute),
            _number(peer.max_relative),
            f"[{_COLOURS[peer.verdict]}]{peer.verdict}[/]",
        )
    return table


def _number(value: float) -> str:
    return "–" if math.isnan(value) else "0" if value == 0 else f"{value:.1e}"
