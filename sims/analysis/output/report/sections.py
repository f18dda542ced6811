"""The tables and texts of the report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from sims.analysis.comparison.analysis import Analysis
from sims.analysis.comparison.measured_group import MeasuredGroup
from sims.analysis.comparison.statistics import Interval
from sims.scenario import to_toml
from topology.drawing.style import PALETTE

__all__ = ["scenario_section", "summary_section", "theory_section"]

_MEASURES = (
    ("mean_of_models", "{metric}, mean of nodes"),
    ("mean_model", "of the mean model"),
    ("worst", "worst node"),
    ("gap", "worst behind pooled"),
    ("consensus_distance", "consensus distance"),
)
_SPREAD = ("deviation over nodes", "Gini", "Jain", "worst 10 %", "effective learning rate")
_NOTHING = "–"


def summary_section(analysis: Analysis) -> str:
    """The groups side by side."""
    heads = [name.format(metric=analysis.metric) for _, name in _MEASURES]
    costs = ["rounds to target", "seconds", "MB"] if analysis.target is not None else []
    reached = [[*_measures(analysis, group), *_costs(group)] for group in analysis.groups]
    spread = [_spread(group) for group in analysis.groups]
    seeds = [", ".join(map(str, group.seeds)) for group in analysis.groups]
    return _table(
        analysis, ["seeds", *heads, *costs], [[own, *rest] for own, rest in zip(seeds, reached, strict=True)]
    ) + _table(analysis, _SPREAD, spread)


def _table(analysis: Analysis, heads: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """A row a group, without columns in which nothing is."""
    shown = [column for column in range(len(heads)) if any(row[column] != _NOTHING for row in cells)]
    if not shown:
        return ""
    head = "".join(f"<th>{escape(heads[column])}</th>" for column in shown)
    rows = "".join(
        f"<tr><td>{_key(index)}{escape(group.label)}</td>"
        f"{''.join(f'<td>{row[column]}</td>' for column in shown)}</tr>"
        for index, (group, row) in enumerate(zip(analysis.groups, cells, strict=True))
    )
    return f'<div class="card scroll"><table class="groups"><tr><th>runs</th>{head}</tr>{rows}</table></div>'


def _key(index: int) -> str:
    return f'<span class="key" style="background:{PALETTE[index % len(PALETTE)]}"></span>'


def _measures(analysis: Analysis, group: MeasuredGroup) -> list[str]:
    return [_interval(group.interval(name, analysis.questions)) for name, _ in _MEASURES]


def _costs(group: MeasuredGroup) -> list[str]:
    cells = []
    for cost, values in group.costs.items():
        if cost == "messages":
            continue
        known = [float(value) for value in values if not math.isnan(value)]
        mean = sum(known) / len(known) / (1e6 if cost == "bytes" else 1) if known else math.nan
        share = "" if len(known) == len(values) else f"<small>{len(known)} of {len(values)} runs</small>"
        cells.append(f"{_number(mean) if known else 'not reached'}{share}")
    return cells


def _spread(group: MeasuredGroup) -> list[str]:
    spread = [group.fairness(name) for name in ("standard_deviation", "gini", "jain", "worst_tenth")]
    return [_number(value) for value in (*spread, group.effective_rate)]


def theory_section(analysis: Analysis) -> str:
    """Theory and measurement side by side, for the first run of each group."""
    rows = []
    is_measured = any(each.measured is not None for g in analysis.groups for each in g.runs[0].theory.figures)
    for index, group in enumerate(analysis.groups):
        for figure in group.runs[0].theory.figures:
            measured = _NOTHING if figure.measured is None else _number(figure.measured)
            rows.append(
                f"<tr><td>{_key(index)}{escape(group.label)}</td>"
                f'<td class="text">{escape(figure.name)}<small>{escape(figure.source)}</small></td>'
                f"{f'<td>{measured}</td>' if is_measured else ''}<td>{_number(figure.predicted)}</td>"
                f'<td><span class="kind {figure.kind}">{figure.kind}</span></td></tr>'
            )
    if not rows:
        return ""
    measured = "<th>measured</th>" if is_measured else ""
    head = f'<tr><th>runs</th><th class="text">quantity</th>{measured}<th>theory</th><th>kind</th></tr>'
    legend = (
        '<p class="caption">exact: holds with equality. asymptotic: for many nodes. bound: the truth is no worse. '
        "order: up to a constant that theory does not give; for comparison only.</p>"
    )
    return f'<div class="card scroll"><table>{head}{"".join(rows)}</table></div>{legend}'


def scenario_section(analysis: Analysis) -> str:
    """The scenario of each group, or that estimated from real peers."""
    parts = []
    for group in analysis.groups:
        run = group.runs[0].run
        paths = ", ".join(str(measured.run.path) for measured in group.runs)
        what = "scenario" if run.source == "simulator" else "scenario estimated from the peers' records"
        text = "# none could be estimated\n" if run.scenario is None else to_toml(run.scenario)
        parts.append(
            f"<details><summary>{escape(group.label)}: {what}</summary>"
            f'<p class="caption">{escape(paths)}</p><pre>{escape(text)}</pre></details>'
        )
    return f'<div class="card" style="margin-top:16px"><h3>Scenarios</h3>{"".join(parts)}</div>'


def _interval(interval: Interval) -> str:
    if not math.isfinite(interval.mean):
        return "–"
    if not interval.known:
        return _number(interval.mean)
    return f"{_number(interval.mean)}<small>{_number(interval.low)} – {_number(interval.high)}</small>"


def _number(value: float) -> str:
    if math.isinf(value):
        return "∞"
    return "–" if math.isnan(value) else f"{value:.4g}"
