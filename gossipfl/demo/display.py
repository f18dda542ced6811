"""Live view of a demo."""

from __future__ import annotations

import statistics

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gossipfl.demo.plan import DemoPlan
from gossipfl.demo.running import Progress

__all__ = ["live_view", "progress_line"]

_BARS = " ▁▂▃▄▅▆▇█"


def live_view(plan: DemoPlan, progress: Progress) -> RenderableType:
    """One row a peer, and the whole network below."""
    table = Table(
        title=f"{plan.peers} peers · {plan.task} · {plan.partition} · no server", title_justify="left"
    )
    for title in ("peer", "age", progress.metric):
        table.add_column(title, justify="right")
    table.add_column("so far", min_width=24, no_wrap=True)
    for title in ("messages", "neighbours"):
        table.add_column(title, justify="right")
    if not progress.history:
        return Group(table, Text(progress.phase))
    look = progress.history[-1]
    for peer, (status, running) in enumerate(zip(look.statuses, look.running, strict=True)):
        if not running:
            table.add_row(str(peer), "", "killed", "", "", "", style="dim red")
        elif status is None:
            table.add_row(str(peer), "", "starting", "", "", "", style="dim")
        else:
            value = status["metrics"].get(progress.metric)
            table.add_row(
                str(peer),
                str(status["age"]),
                "" if value is None else f"{100 * value:.1f} %",
                _sparkline(progress, peer),
                str(status["network"]["messages_received"]),
                f"{status['connected']}/{status['neighbours']}",
            )
    return Group(table, Text(progress_line(progress)))


def progress_line(progress: Progress) -> str:
    """The network in one line."""
    if not progress.history:
        return progress.phase
    look = progress.history[-1]
    values = look.values(progress.metric)
    parts = [f"{look.seconds:5.1f} s", progress.phase, f"{look.up} of {len(look.running)} peers up"]
    if values:
        parts.append(
            f"{progress.metric} mean {100 * statistics.fmean(values):.1f} % worst {100 * min(values):.1f} %"
        )
    if look.consensus_distance is not None:
        parts.append(f"consensus distance {look.consensus_distance:.2g}")
    parts.append(f"{look.total('bytes_received') / 1e6:.1f} MB exchanged")
    return " · ".join(parts)


def _sparkline(progress: Progress, peer: int, *, width: int = 24) -> str:
    values = [value for look in progress.history if (value := look.value(peer, progress.metric)) is not None]
    step = max(1, -(-len(values) // width))
    return "".join(_BARS[min(8, round(8 * value))] for value in values[::step])
