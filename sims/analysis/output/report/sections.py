"""The tables and texts of the report."""

from __future__ import annotations

import math
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


def summary_section(analysis: Analysis) -> str:
    """The groups side by side."""
    heads = [name.format(metric=analysis.metric) for _, name in _MEASURES]
    fairness = ["standard deviation", "Gini", "Jain", "worst 10 %", "effective learning rate"]
    costs = ["rounds to target", "seconds", "MB"] if analysis.target is not None else []
    head = "".join(f"<th>{escape(name)}</th>" for name in ("runs", "seeds", *heads, *fairness, *costs))
    rows = "".join(_group_row(analysis, group, index) for index, group in enumerate(analysis.groups))
    return f'<div class="card scroll"><table><tr>{head}</tr>{rows}</table></div>'


def _group_row(analysis: Analysis, group: MeasuredGroup, index: int) -> str:
    questions = analysis.questions
    key = f'<span class="key" style="background:{PALETTE[index % len(PALETTE)]}"></span>'
    cells = [f"<td>{key}{escape(group.label)}</td>", f"<td>{', '.join(map(str, group.seeds))}</td>"]
    cells += [f"<td>{_interval(group.interval(name, questions))}</td>" for name, _ in _MEASURES]
    for name in ("standard_deviation", "gini", "jain", "worst_tenth"):
        spread = [getattr(m.fairness, name) for m in group.runs if m.fairness is not None]
        cells.append(f"<td>{_number(sum(spread) / len(spread)) if spread else '–'}</td>")
    rates = [m.effective.relative for m in group.runs if m.effective is not None]
    cells.append(f"<td>{_number(sum(rates) / len(rates)) if rates else '–'}</td>")
    for cost, values in group.costs.items():
        if cost == "messages":
            continue
        known = [float(value) for value in values if not math.isnan(value)]
        mean = sum(known) / len(known) / (1e6 if cost == "bytes" else 1) if known else math.nan
        share = "" if len(known) == len(values) else f"<small>{len(known)} of {len(values)} runs</small>"
        cells.append(f"<td>{_number(mean) if known else 'not reached'}{share}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def theory_section(analysis: Analysis) -> str:
    """Theory and measurement side by side, for the first run of each group."""
    rows = []
    for index, group in enumerate(analysis.groups):
        key = f'<span class="key" style="background:{PALETTE[index % len(PALETTE)]}"></span>'
        for figure in group.runs[0].theory.figures:
            measured = "–" if figure.measured is None else _number(figure.measured)
            rows.append(
                f"<tr><td>{key}{escape(group.label)}</td>"
                f'<td class="text">{escape(figure.name)}<small>{escape(figure.source)}</small></td>'
                f"<td>{measured}</td><td>{_number(figure.predicted)}</td>"
                f'<td><span class="kind {figure.kind}">{figure.kind}</span></td></tr>'
            )
    if not rows:
        return ""
    head = '<tr><th>runs</th><th class="text">quantity</th><th>measured</th><th>theory</th><th>kind</th></tr>'
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
