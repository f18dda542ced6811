"""Sentences on who gained over learning alone, who gave, who stands out, and what each is worth."""

from __future__ import annotations

import math

import numpy as np

from sims.analysis.comparison.analysis import Analysis
from sims.analysis.comparison.wording import say_figure
from sims.analysis.measures.participation import Participation

__all__ = ["gains_said"]


def gains_said(analysis: Analysis) -> list[str]:
    """Say it of the first run of each group for which it is known."""
    said = []
    for group in analysis.groups:
        found = next((m.participation for m in group.runs if m.participation is not None), None)
        if found is not None:
            said += [f"{group.label}: {sentence}." for sentence in _said(analysis, found)]
    return said


def _said(analysis: Analysis, found: Participation) -> list[str]:
    fair, gains = found.fairness, found.gains
    worse = [label for label, gain in zip(found.labels, gains, strict=True) if gain < 0]
    who = f" ({', '.join(worse[:5])}{', …' if len(worse) > 5 else ''})" if worse else ""
    least, most = int(found.steps.min()), int(found.steps.max())
    steps = f"{most:,}" if least == most else f"{least:,} to {most:,}"
    said = [
        f"over {steps} steps alone, nodes gain {say_figure(analysis, fair.mean)} in {analysis.metric} on average "
        f"(deviation {say_figure(analysis, fair.spread)}, worst tenth {say_figure(analysis, fair.worst_decile)}); "
        f"{len(worse)} of {len(gains)} have less than alone{who}"
    ]
    for i, reasons in enumerate(found.reasons):
        if gains[i] < 0:
            chance = "" if found.high[i] < 0 or math.isnan(found.high[i]) else ", which may be chance"
            unknown = "; nothing sets its data apart" if len(gains) > 1 else ""
            why = f": {'; '.join(reasons)}" if reasons else unknown
            said.append(f"node {_number(found, i)} has less than alone{chance}{why}")
    for i, flags in enumerate(found.flags):
        said += [f"node {_number(found, i)} stands out, {flag}" for flag in flags]
    return [*said, *_given(found), *_worth(found)]


def _given(found: Participation) -> list[str]:
    if not np.isfinite(found.gave).any():
        return []
    most, least = int(np.nanargmax(found.gave)), int(np.nanargmin(found.gave))
    how = "as recorded" if found.recorded else "by their last models"
    return [
        f"merging a model of {found.labels[most]} lowered the loss of others most ({found.gave[most]:+.3g}), of "
        f"{found.labels[least]} least ({found.gave[least]:+.3g}), {how}"
        f"{_rank('given and gained', found.fairness.given_and_gained)}"
    ]


def _worth(found: Participation) -> list[str]:
    worth = found.worth
    if worth is None:
        return []
    with_shapley, with_left_out = found.gave_and_worth
    known = np.isfinite(worth.shapley).all()
    values = worth.shapley if known else worth.left_out
    most, least = int(values.argmax()), int(values.argmin())
    what = "the largest Shapley value" if known else "the most that is lost without a node"
    how = f"{worth.permutations} permutations" if worth.permutations else "all coalitions"
    how = f", by {how}" if known else ""
    return [
        f"{found.labels[most]} has {what} ({values[most]:+.3g}), {found.labels[least]} the least "
        f"({values[least]:+.3g}; {worth.coalitions:,} networks simulated{how})"
        f"{_rank('Shapley values and effects of merges', with_shapley)}"
        f"{_rank('what is lost without each and effects of merges', with_left_out)}"
    ]


def _rank(what: str, value: float) -> str:
    return "" if math.isnan(value) else f"; rank correlation of {what} {value:+.2f}"


def _number(found: Participation, i: int) -> str:
    return found.labels[i].split()[-1]
