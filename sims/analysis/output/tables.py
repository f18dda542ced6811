"""Result tables: a row a run, a group or an evaluation; and for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sims.analysis.comparison.analysis import Analysis
from sims.analysis.comparison.findings import findings
from sims.analysis.comparison.measuring import Measured
from sims.analysis.comparison.statistics import Interval
from sims.analysis.errors import NotWritable
from sims.analysis.output.participants import participants_table
from sims.metrics.fairness import Fairness
from topology.text import printable

if TYPE_CHECKING:
    from rich.table import Table

__all__ = [
    "curves_table",
    "runs_table",
    "summary",
    "terminal_table",
    "theory_table",
    "theory_terminal_table",
    "write_table",
]

_NOTHING = "–"


def runs_table(analysis: Analysis) -> pl.DataFrame:
    """A row a run: everything measured that is one number."""
    rows = []
    for group in analysis.groups:
        for index, measured in enumerate(group.runs):
            costs = {
                f"{cost}_to_target": None if math.isnan(values[index]) else float(values[index])
                for cost, values in group.costs.items()
            }
            rows.append({"group": group.label, **_run_row(measured), "target": analysis.target, **costs})
    return pl.DataFrame(rows, infer_schema_length=None)


def _run_row(measured: Measured) -> dict[str, Any]:
    run, metric, spread = measured.run, measured.metric, measured.fairness
    effective, landscape = measured.effective, measured.theory.landscape
    critical = [f.predicted for f in measured.theory.figures if "critical" in f.name]
    return {
        "source": run.source,
        "path": str(run.path),
        "seed": run.seed,
        "finished": run.finished,
        "nodes": len(run.labels),
        "rounds": run.last("round"),
        "seconds": run.last("seconds"),
        "messages": run.last("messages"),
        "bytes": run.last("bytes"),
        f"{metric}_mean_of_models": measured.mean_of_models,
        f"{metric}_of_mean_model": measured.mean_model,
        f"{metric}_worst": measured.worst,
        "worst_node": measured.worst_node,
        f"{metric}_pooled": measured.pooled.values.get(metric, math.nan) if measured.pooled else math.nan,
        f"{metric}_pooled_within": measured.pooled.within.get(metric, math.nan)
        if measured.pooled
        else math.nan,
        "gap_to_pooled": measured.gap,
        **{each.name: getattr(spread, each.name) if spread else math.nan for each in fields(Fairness)},
        "consensus_distance": measured.consensus_distance,
        "critical_consensus_distance": critical[0] if critical else math.nan,
        "consensus_factor_per_round": measured.theory.rate.factor if measured.theory.rate else math.nan,
        "learning_rate": effective.step if effective else math.nan,
        "learning_rate_with_momentum": effective.with_momentum if effective else math.nan,
        "effective_learning_rate": effective.relative if effective else math.nan,
        "smoothness": landscape.smoothness if landscape else math.nan,
        "gradient_noise": landscape.noise if landscape else math.nan,
        "heterogeneity": landscape.heterogeneity if landscape else math.nan,
        "gradient": landscape.gradient if landscape else math.nan,
    }


def curves_table(analysis: Analysis) -> pl.DataFrame:
    """One row per evaluation of every run, with its group and seed; null where a run did not measure a column."""
    tables = [
        measured.run.curves.select(
            pl.lit(group.label).alias("group"),
            pl.lit(measured.run.seed).alias("seed"),
            pl.lit(str(measured.run.path)).alias("path"),
            pl.all(),
        )
        for group in analysis.groups
        for measured in group.runs
    ]
    return pl.concat(tables, how="diagonal_relaxed")


def theory_table(analysis: Analysis) -> pl.DataFrame:
    """One row per figure of theory and run, next to the measured value."""
    rows = [
        {
            "group": group.label,
            "seed": measured.run.seed,
            "quantity": figure.name,
            "predicted": figure.predicted,
            "measured": figure.measured,
            "kind": figure.kind,
            "source": figure.source,
        }
        for group in analysis.groups
        for measured in group.runs
        for figure in measured.theory.figures
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def write_table(table: pl.DataFrame, file: Path) -> None:
    """Write a table as CSV or Parquet, by the file's suffix.

    Raises
    ------
    NotWritable
        If the suffix is another, or the file cannot be written.
    """
    suffix = file.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise NotWritable(f"{file} has an unknown file type", expected="a name ending in .csv or .parquet")
    temporary = file.with_name(f".{file.name}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if suffix == ".csv":
            table.write_csv(temporary)
        else:
            table.write_parquet(temporary)
        temporary.replace(file)
    except OSError as error:
        raise NotWritable(f"{file} cannot be written", got=error.strerror or str(error)) from error


def summary(analysis: Analysis) -> dict[str, Any]:
    """Everything as plain JSON values; numbers that are not finite become None."""
    questions = analysis.questions
    names = ("mean_of_models", "mean_model", "worst", "gap", "consensus_distance")
    plain = {
        "metric": analysis.metric,
        "target": analysis.target,
        "statistic": questions.statistic,
        "confidence": questions.confidence,
        "findings": findings(analysis),
        "groups": [
            {
                "label": group.label,
                "seeds": list(group.seeds),
                **{name: _plain_interval(group.interval(name, questions)) for name in names},
                "reached_target": group.reached,
                "to_target": {cost: values.tolist() for cost, values in group.costs.items()},
            }
            for group in analysis.groups
        ],
        "runs": runs_table(analysis).to_dicts(),
        "participants": participants_table(analysis).to_dicts(),
        "layers": [
            {"group": group.label, "seed": measured.run.seed, **measured.layers}
            for group in analysis.groups
            for measured in group.runs
        ],
        "theory": theory_table(analysis).to_dicts(),
        "notes": list(analysis.notes),
    }
    return dict(_finite(plain))


def _plain_interval(interval: Interval) -> dict[str, float]:
    return {"mean": interval.mean, "low": interval.low, "high": interval.high}


def _finite(value: Any) -> Any:  # noqa: ANN401 - any plain value
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def terminal_table(analysis: Analysis) -> Table:
    """The groups side by side, for the terminal: a column a group, without lines in which nothing is."""
    from rich.table import Table

    metric, target = analysis.metric, analysis.target
    table = Table("", *(printable(group.label) for group in analysis.groups))
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row("seeds", *(", ".join(map(str, group.seeds)) for group in analysis.groups))
    for name, label in (
        ("mean_of_models", f"{metric}, mean of nodes"),
        ("mean_model", "  of the mean model"),
        ("worst", "  of the worst node"),
        ("gap", "  worst behind pooled"),
    ):
        _add(table, label, [_shown(group.interval(name, analysis.questions)) for group in analysis.groups])
    for name, label in (
        ("standard_deviation", "  deviation over nodes"),
        ("gini", "  Gini"),
        ("jain", "  Jain"),
    ):
        _add(table, label, [_share(group.fairness(name)) for group in analysis.groups])
    distances = [group.interval("consensus_distance", analysis.questions).mean for group in analysis.groups]
    _add(table, "consensus distance", [_number(value) for value in distances])
    _add(table, "effective learning rate", [_number(group.effective_rate) for group in analysis.groups])
    table.add_section()
    if target is not None:
        table.add_row(
            f"to {metric} {target:g} ({analysis.questions.statistic})", *[""] * len(analysis.groups)
        )
        for cost, label, unit in (("round", "rounds", 1), ("seconds", "seconds", 1), ("bytes", "MB", 1e6)):
            cells = [_mean_cost(group.costs[cost], unit) for group in analysis.groups]  # type: ignore[index]
            table.add_row(f"  {label}", *cells)
    return table


def _add(table: Table, label: str, cells: Sequence[str]) -> None:
    if any(cell != _NOTHING for cell in cells):
        table.add_row(label, *cells)


def _share(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else _NOTHING


def _mean_cost(values: NDArray[np.float64], unit: float) -> str:
    known = values[np.isfinite(values)]
    if not len(known):
        return "not reached"
    return f"{known.mean() / unit:.4g}" + (
        "" if len(known) == len(values) else f" ({len(known)}/{len(values)})"
    )


def _shown(interval: Interval) -> str:
    if not math.isfinite(interval.mean):
        return _NOTHING
    if not interval.known:
        return f"{interval.mean:.4f}"
    return f"{interval.mean:.4f} [{interval.low:.4f}, {interval.high:.4f}]"


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else _NOTHING


def theory_terminal_table(analysis: Analysis) -> Table | None:
    """Theory and measurement side by side, for the first run of each group; None without theory."""
    from rich.table import Table

    figures = [(group.label, figure) for group in analysis.groups for figure in group.runs[0].theory.figures]
    is_measured = any(figure.measured is not None for _, figure in figures)
    table = Table("runs", "quantity", *(["measured"] if is_measured else []), "theory", "kind")
    for label, figure in figures:
        measured = _NOTHING if figure.measured is None else _number(figure.measured)
        predicted = "∞" if math.isinf(figure.predicted) else _number(figure.predicted)
        cells = [figure.name, *([measured] if is_measured else []), predicted, figure.kind]
        table.add_row(printable(label), *cells)
    return table if table.row_count else None
