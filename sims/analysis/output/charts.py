"""The charts of an analysis, for both figures and report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sims.analysis.comparison.analysis import Analysis
from sims.analysis.comparison.measured_group import MeasuredGroup
from sims.analysis.measures.targets import Cost, costs_of_targets, curve_of
from sims.analysis.output.chart import Chart, Series, Stroke, positive
from sims.analysis.theory.prediction import CONSENSUS
from sims.metrics.direction import is_lower_better
from sims.metrics.network_metrics import GRADIENT, LAYER, MEAN_MODEL

__all__ = ["charts_of"]

Floats = NDArray[np.float64]

_COSTS: dict[Cost, tuple[str, float]] = {
    "round": ("rounds", 1.0),
    "seconds": ("seconds", 1.0),
    "bytes": ("MB sent", 1e6),
}
_TARGETS = 60
_LAYERS = 10
_THEORY: tuple[Stroke, ...] = ("dashed", "dash-dotted", "long-dashed")


def charts_of(analysis: Analysis) -> list[Chart]:
    """All charts that these runs have something to show in."""
    charts = [
        *(_progress(analysis, cost) for cost in _COSTS),
        _agreement(analysis),
        _mean_model(analysis),
        _gradient(analysis),
        *(_cost_of_targets(analysis, cost) for cost in _COSTS),
        _nodes(analysis),
        *(_layers(analysis, index) for index in range(len(analysis.groups))),
    ]
    return [chart for chart in charts if any(len(series.x) > 1 for series in chart.series)]


def _progress(analysis: Analysis, cost: Cost) -> Chart:
    metric, (axis, unit) = analysis.metric, _COSTS[cost]
    series = []
    for colour, group in enumerate(analysis.groups):
        measured = _measured(analysis, group, f"{metric}_mean", colour, over=cost, unit=unit)
        series += measured
        pooled = [m.pooled.values[metric] for m in group.runs if m.pooled and metric in m.pooled.values]
        if pooled and measured:
            series.append(
                Series(
                    name=f"{group.label}: pooled",
                    colour=colour,
                    x=measured[0].x[[0, -1]],
                    y=np.full(2, float(np.mean(pooled))),
                    stroke="dotted",
                    note="pooled training",
                )
            )
    return Chart(
        key=f"{metric}-over-{cost}",
        title=f"{metric.capitalize()} over {axis}",
        x_title=axis,
        y_title=f"{metric}, mean of nodes",
        series=tuple(series),
        log_y=metric == "loss",
        remark=_said(series, dotted="pooled training"),
    )


def _agreement(analysis: Analysis) -> Chart:
    series = []
    for colour, group in enumerate(analysis.groups):
        series += [positive(each) for each in _measured(analysis, group, CONSENSUS, colour)]
        series += _predicted(analysis, group, CONSENSUS, colour)
        rate = group.runs[0].theory.rate
        if rate is not None:
            x = np.array([rate.first, rate.last])
            series.append(
                Series(
                    name=f"{group.label}: fitted, factor {rate.factor:.4g} a round",
                    colour=colour,
                    x=x,
                    y=rate.at(x),
                    stroke="dotted",
                    note=f"least squares on the logarithm, R² = {rate.determination:.4f}",
                )
            )
    return Chart(
        key="consensus-distance",
        title=_titled("Consensus distance", series),
        x_title="round",
        y_title="(1/n) Σ ‖xᵢ − x̄‖²",
        series=tuple(series),
        log_y=True,
        remark=_said(series, dotted="fitted"),
    )


def _said(series: Sequence[Series], *, dotted: str = "") -> str:
    """The meaning of those strokes that are there to be seen."""
    strokes = {each.stroke for each in series if np.isfinite(each.y).any()}
    said = ["dashed: theory"] if strokes & set(_THEORY) else []
    return "; ".join([*said, *([f"dotted: {dotted}"] if dotted and "dotted" in strokes else [])])


def _titled(what: str, series: Sequence[Series]) -> str:
    return f"{what}, and theory" if "theory" in _said(series) else what


def _mean_model(analysis: Analysis) -> Chart:
    metric, series = analysis.metric, []
    kinds: tuple[tuple[str, str, Stroke], ...] = (
        (f"{MEAN_MODEL}{metric}", "mean model", "solid"),
        (f"{metric}_mean", "mean of models", "dashed"),
        (f"{metric}_{'max' if is_lower_better(metric) else 'min'}", "worst node", "dotted"),
    )
    for colour, group in enumerate(analysis.groups):
        if not _measured(analysis, group, f"{MEAN_MODEL}{metric}", colour):
            continue
        for column, what, stroke in kinds:
            series += [
                Series(name=f"{group.label}: {what}", colour=colour, x=each.x, y=each.y, stroke=stroke)
                for each in _measured(analysis, group, column, colour)
            ]
    return Chart(
        key="mean-model",
        title=f"{metric.capitalize()} of the mean model, mean of models, worst node",
        x_title="round",
        y_title=metric,
        series=tuple(series),
    )


def _gradient(analysis: Analysis) -> Chart:
    series = []
    for colour, group in enumerate(analysis.groups):
        series += [positive(each) for each in _measured(analysis, group, GRADIENT, colour)]
        series += _predicted(analysis, group, GRADIENT, colour)
    return Chart(
        key="gradient",
        title=_titled("Gradient of the pooled loss at the mean model", series),
        x_title="round",
        y_title="‖∇f(x̄)‖²",
        series=tuple(series),
        log_y=True,
        remark=_said(series),
    )


def _cost_of_targets(analysis: Analysis, cost: Cost) -> Chart:
    metric, (axis, unit) = analysis.metric, _COSTS[cost]
    lower, series = is_lower_better(metric), []
    curves = [curve_of(m.run, metric, analysis.questions.statistic) for m in analysis.runs]
    known = np.concatenate([curve[np.isfinite(curve)] for curve in curves] or [np.zeros(1)])
    if len(known):
        targets = np.linspace(known.min(), known.max(), _TARGETS)
        targets = targets[::-1] if lower else targets
        for colour, group in enumerate(analysis.groups):
            statistic = analysis.questions.statistic
            costs = np.stack(
                [
                    costs_of_targets(m.run, cost, targets, metric=metric, statistic=statistic)
                    for m in group.runs
                ]
            )
            reached = np.isfinite(costs).all(axis=0)
            if reached.sum() > 1:
                series.append(
                    Series(
                        name=group.label,
                        colour=colour,
                        x=targets[reached],
                        y=costs[:, reached].mean(axis=0) / unit,
                        low=costs[:, reached].min(axis=0) / unit if len(group.runs) > 1 else None,
                        high=costs[:, reached].max(axis=0) / unit if len(group.runs) > 1 else None,
                    )
                )
    return Chart(
        key=f"{cost}-to-{metric}",
        title=f"{axis[0].upper()}{axis[1:]} to {metric}",
        x_title=f"{metric} reached ({analysis.questions.statistic} of nodes)",
        y_title=axis,
        series=tuple(series),
        remark="band: fastest and slowest seed; the line ends where some seed got no further"
        if any(each.low is not None for each in series)
        else "",
    )


def _nodes(analysis: Analysis) -> Chart:
    series = []
    for colour, group in enumerate(analysis.groups):
        values = [np.sort(m.nodes) for m in group.runs if len(m.nodes) > 1]
        if not values:
            continue
        share = np.linspace(0, 1, min(200, max(len(own) for own in values)))
        ranked = np.stack([np.quantile(own, share) for own in values])
        jain = group.fairness("jain")
        series.append(
            Series(
                name=f"{group.label} (Jain {jain:.4f})" if np.isfinite(jain) else group.label,
                colour=colour,
                x=100 * share,
                y=ranked.mean(axis=0),
                note="nodes in order, mean over seeds",
            )
        )
    return Chart(
        key="nodes",
        title="Fairness: nodes from worst to best",
        x_title="% of the nodes, in order",
        y_title=f"{analysis.metric} at the end",
        series=tuple(series),
    )


def _layers(analysis: Analysis, index: int) -> Chart:
    group, series = analysis.groups[index], []
    layers = group.runs[0].run.layers
    largest = sorted(layers, key=lambda name: -group.runs[0].run.last(LAYER + name))[:_LAYERS]
    for colour, name in enumerate(largest):
        series += [
            positive(replace(each, name=name)) for each in _measured(analysis, group, LAYER + name, colour)
        ]
    return Chart(
        key=f"layers-{index}",
        title=f"Consensus distance of each tensor: {group.label}",
        x_title="round",
        y_title="(1/n) Σ ‖xᵢ − x̄‖²",
        series=tuple(series),
        log_y=True,
    )


def _measured(
    analysis: Analysis,
    group: MeasuredGroup,
    column: str,
    colour: int,
    *,
    over: str = "round",
    unit: float = 1.0,
) -> list[Series]:
    """A measured curve, and its band over seeds (below three, over nodes); empty if no run has it."""
    found = group.band(column, analysis.questions, over=over)
    if found is None:
        return []
    x, mean, low, high = found
    caption = ""
    if np.isfinite(low).any():
        caption = f"band: {100 * analysis.questions.confidence:g} % bootstrap interval over seeds"
    elif column.endswith("_mean") and len(group.runs) == 1:
        stem, run = column.removesuffix("_mean"), group.runs[0].run
        known = np.isfinite(run.column(over)) & np.isfinite(run.column(column))
        low, high = run.column(f"{stem}_q05")[known], run.column(f"{stem}_q95")[known]
        caption = "band: 5–95 % of nodes"
    series = Series(name=group.label, colour=colour, x=x / unit, y=mean)
    if len(low) == len(x) and np.isfinite(low).any():
        series = replace(series, low=low, high=high, band=caption)
    return [series]


def _predicted(analysis: Analysis, group: MeasuredGroup, quantity: str, colour: int) -> list[Series]:
    """Theory for the group's first run: in the group's colour, or each curve in its own if there is one group."""
    alone = len(analysis.groups) == 1
    lines = [
        line
        for line in group.runs[0].theory.lines
        if line.quantity == quantity and np.isfinite(line.values).any()
    ]
    return [
        positive(
            Series(
                name=f"{line.kind}: {line.name}" if alone else f"{group.label}, {line.kind}: {line.name}",
                colour=number + 1 if alone else colour,
                x=line.rounds,
                y=line.values,
                stroke=_THEORY[number % len(_THEORY)],
                note=line.source,
            )
        )
        for number, line in enumerate(lines)
    ]
