"""Tables of participants: what each node gained over learning alone, gave, and is worth to the network."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import polars as pl

from sims.analysis.comparison.analysis import Analysis
from sims.analysis.measures.participation import Participation

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["participants_table", "participants_terminal_table"]

_NODES_SHOWN = 32


def participants_table(analysis: Analysis) -> pl.DataFrame:
    """One row per node of each run whose nodes were trained alone."""
    rows = [
        {"group": group.label, "seed": measured.run.seed, **_values(found, i)}
        for group in analysis.groups
        for measured in group.runs
        if (found := measured.participation) is not None
        for i in range(len(found.labels))
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def _values(found: Participation, i: int) -> dict[str, Any]:
    gain = float(found.gains[i])
    values = {
        "node": found.labels[i],
        "samples": int(found.samples[i]),
        "steps": int(found.steps[i]),
        "alone": float(found.alone[i]),
        "together": float(found.together[i]),
        "gain": gain,
        "gain_low": float(found.low[i]),
        "gain_high": float(found.high[i]),
        "gain_per_sample": gain / float(found.samples[i]) if found.samples[i] else math.nan,
        "gave": float(found.gave[i]),
        "reasons": "; ".join(found.reasons[i]),
        "flags": "; ".join(found.flags[i]),
    }
    worth = found.worth
    if worth is not None:
        values |= {
            "left_out": float(worth.left_out[i]),
            "shapley": float(worth.shapley[i]),
            "shapley_low": float(worth.low[i]),
            "shapley_high": float(worth.high[i]),
            "gave_others": math.nan if worth.gave is None else float(worth.gave[i]),
        }
    return values


def participants_terminal_table(analysis: Analysis) -> Table | None:
    """The nodes of the first run of each group, for the terminal; None if none was trained alone."""
    from rich.table import Table

    firsts = [
        (group.label, found)
        for group in analysis.groups
        if (found := next((m.participation for m in group.runs if m.participation is not None), None))
        is not None
    ]
    if not firsts:
        return None
    with_worth = any(found.worth is not None for _, found in firsts)
    more = ("left out", "Shapley") if with_worth else ()
    groups = ("runs",) if len(firsts) > 1 else ()
    table = Table(*groups, "node", "samples", "alone", "together", "gain", "gave", *more)
    for column in table.columns[1 + len(groups) :]:
        column.justify, column.no_wrap = "right", True
    for label, found in firsts:
        for i in range(min(len(found.labels), _NODES_SHOWN)):
            worth = found.worth
            reach = float(found.high[i] - found.gains[i])
            table.add_row(
                *((label,) if groups else ()),
                found.labels[i],
                f"{found.samples[i]:,}",
                f"{found.alone[i]:.3f}",
                f"{found.together[i]:.3f}",
                f"{found.gains[i]:+.3f}" + (f" ±{reach:.3f}" if math.isfinite(reach) else ""),
                _signed(float(found.gave[i])),
                *(
                    ()
                    if worth is None
                    else (_signed(float(worth.left_out[i])), _signed(float(worth.shapley[i])))
                ),
            )
    return table


def _signed(value: float) -> str:
    return f"{value:+.3f}" if math.isfinite(value) else "–"
