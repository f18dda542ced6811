"""The participants in the report: what each gained and gave, why some did not gain, and how even that is."""

from __future__ import annotations

import math
from html import escape

from sims.analysis.comparison.analysis import Analysis
from sims.analysis.measures.participation import Participation

__all__ = ["participants_section"]

_SHOWN = 256


def participants_section(analysis: Analysis) -> str:
    """Gains, gifts and fairness of the first run of each group whose nodes were trained alone; empty without."""
    cards = []
    for group in analysis.groups:
        found = next((m.participation for m in group.runs if m.participation is not None), None)
        if found is not None:
            cards.append(_card(group.label, found, analysis.metric))
    return "".join(cards)


def _card(label: str, found: Participation, metric: str) -> str:
    fair = found.fairness
    how = (
        "as peers recorded it when they merged"
        if found.recorded
        else "by averaging the last models in pairs, on test samples of the receiver"
    )
    caption = (
        f"{metric} after learning together and after as many steps alone, the higher the better (losses with "
        "their sign changed); intervals of gains are over test samples; gave: by how much merging its model "
        f"lowered others' losses on average, {how}"
    )
    figures = {
        "mean gain": _signed(fair.mean),
        "standard deviation": _number(fair.spread),
        "worst tenth": _signed(fair.worst_decile),
        "less than alone": f"{fair.worse_off} of {len(found.labels)}",
        "Jain's index of what they have": _number(fair.level.jain),
        "rank correlation of given and gained": _signed(fair.given_and_gained),
    }
    names = ["node", "samples", "steps", "alone", "together", "gain", "interval", "gain per sample", "gave"]
    if found.worth is not None:
        names += ["lost without it", "Shapley value"]
        with_shapley, with_left_out = found.gave_and_worth
        figures["rank correlation of effects of merges with Shapley values"] = _signed(with_shapley)
        figures["and with what is lost without each"] = _signed(with_left_out)
    texts = ("why it has less than alone", "what stands out")
    head = "".join(f"<th>{name}</th>" for name in names) + "".join(
        f'<th class="text">{text}</th>' for text in texts
    )
    fairness = "".join(f"<tr><td>{escape(name)}</td><td>{value}</td></tr>" for name, value in figures.items())
    rows = "".join(_row(found, i) for i in range(min(len(found.labels), _SHOWN)))
    return (
        f'<div class="card scroll"><h3>{escape(label)}</h3><p class="caption">{escape(caption)}</p>'
        f"<table>{fairness}</table><table><tr>{head}</tr>{rows}</table></div>"
    )


def _row(found: Participation, i: int) -> str:
    gain = float(found.gains[i])
    cells = [
        f"{found.samples[i]:,}",
        f"{found.steps[i]:,}",
        _number(float(found.alone[i])),
        _number(float(found.together[i])),
        _signed(gain),
        f"{_signed(float(found.low[i]))} … {_signed(float(found.high[i]))}",
        _signed(gain / float(found.samples[i])) if found.samples[i] else "–",
        _signed(float(found.gave[i])),
    ]
    if found.worth is not None:
        cells += [_signed(float(found.worth.left_out[i])), _signed(float(found.worth.shapley[i]))]
    numbers = "".join(f"<td>{cell}</td>" for cell in cells)
    why = "; ".join(found.reasons[i]) or (
        "nothing sets its data apart" if gain < 0 and len(found.labels) > 1 else ""
    )
    texts = "".join(f'<td class="text">{escape(text)}</td>' for text in (why, "; ".join(found.flags[i])))
    return f"<tr><td>{escape(found.labels[i])}</td>{numbers}{texts}</tr>"


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "–"


def _signed(value: float) -> str:
    return f"{value:+.4g}" if math.isfinite(value) else "–"
