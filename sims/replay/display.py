"""A replay in a terminal."""

from __future__ import annotations

import math

from rich.table import Table

from sims.replay.report import ReplayReport

__all__ = ["report_table"]

_COLOURS = {"identical": "green", "within tolerance": "green", "differs": "red", "no checkpoint": "yellow"}


def report_table(report: ReplayReport) -> Table:
    """Lay out a report: a row for each peer."""
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
