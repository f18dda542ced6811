"""Findings in sentences."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sims.analysis.comparison.analysis import Analysis
from sims.analysis.comparison.gains_said import gains_said
from sims.analysis.comparison.measured_group import MeasuredGroup
from sims.analysis.comparison.statistics import Comparison, Interval, compare, holm, smallest_p
from sims.analysis.comparison.twins import beside_twins
from sims.analysis.comparison.wording import (
    say_difference,
    say_figure,
    say_interval,
    say_percent,
    say_seeds,
    wanted,
)
from sims.analysis.measures.targets import Cost

__all__ = ["findings", "paired_values"]

_UNITS: dict[Cost, str] = {
    "round": "in rounds",
    "seconds": "in seconds",
    "messages": "in messages",
    "bytes": "in bytes",
}
_ALIKE = 5e-3
_CLAIMED = 0.05

_Claim = tuple[str, str, Comparison]
"""A sentence without its full stop, the interval of its figure, and the comparison behind it."""


def findings(analysis: Analysis) -> list[str]:
    """State what the analysis found, most important first, with intervals, seeds and tests.

    Where there are too few seeds for a claim, the sentence says so.
    """
    said = [_level(analysis, group) for group in analysis.groups]
    baseline, *others = analysis.groups
    sooner = [] if analysis.target is None else [_sooner(analysis, baseline, other) for other in others]
    better = [_better(analysis, baseline, other) for other in others]
    for several in (sooner, better):
        adjusted = holm([1.0 if math.isnan(c.p_value) else c.p_value for _, _, c in several])
        for (sentence, interval, comparison), p_value in zip(several, adjusted, strict=True):
            said.append(sentence + _evidence(interval, comparison, p_value, len(several)))
    return [*said, *beside_twins(analysis), *gains_said(analysis), *_beside_theory(analysis)]


def paired_values(
    first: MeasuredGroup, second: MeasuredGroup, a: NDArray[np.float64], b: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values of the seeds that both groups have, in order; a seed that occurs twice counts twice."""
    pairs = []
    left = list(zip(second.seeds, b, strict=True))
    for seed, value in zip(first.seeds, a, strict=True):
        place = next((k for k, (other, _) in enumerate(left) if other == seed), None)
        if place is not None:
            pairs.append((value, left.pop(place)[1]))
    table = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _level(analysis: Analysis, group: MeasuredGroup) -> str:
    questions = analysis.questions
    mean = group.interval("mean_of_models", questions)
    worst = group.interval("worst", questions)
    said = f"{group.label}: {analysis.metric} {say_interval(analysis, mean)} over all nodes"
    if math.isfinite(worst.mean):
        said += f", {say_figure(analysis, worst.mean)} on the worst node"
    gap = group.interval("gap", questions)
    if math.isfinite(gap.mean):
        pooled = float(np.mean([m.pooled.values[analysis.metric] for m in group.runs if m.pooled]))
        within = max((m.pooled.within.get(analysis.metric, 0.0) for m in group.runs if m.pooled), default=0.0)
        side = "below" if gap.mean >= 0 else "above"
        side = {"below": "above", "above": "below"}[side] if analysis.lower_is_better else side
        said += f", which is {say_difference(analysis, abs(gap.mean))} {side} pooled training"
        around = f" ± {say_difference(analysis, within)}" if within else ""
        said += f" ({say_figure(analysis, pooled)}{around})"
    if analysis.target is not None:
        said += f"; {_cost(analysis, group)}"
    return f"{said} ({say_seeds(len(group.runs))})."


def _cost(analysis: Analysis, group: MeasuredGroup) -> str:
    rounds = group.costs["round"]
    if not np.isfinite(rounds).any():
        return f"{wanted(analysis)} was never reached"
    share = "" if np.isfinite(rounds).all() else f" by {group.reached} of {len(rounds)} runs"
    seconds, sent = group.costs["seconds"], group.costs["bytes"]
    return (
        f"{wanted(analysis)} was reached{share} after {np.nanmean(rounds):.4g} rounds, "
        f"{np.nanmean(seconds):.4g} s and {np.nanmean(sent) / 1e6:.4g} MB"
    )


def _sooner(analysis: Analysis, first: MeasuredGroup, second: MeasuredGroup) -> _Claim:
    """The ratio of the costs at which two reach the target, in the unit they can be compared by."""
    cost: Cost = "round" if _same_source(first, second) else "seconds"
    a, b = paired_values(first, second, first.costs[cost], second.costs[cost])
    comparison = compare(a, b, confidence=analysis.questions.confidence, seed=analysis.questions.seed)
    if not comparison.pairs:
        reason = _why_not(first, second, cost)
        said = f"{second.label} and {first.label} cannot be compared at {wanted(analysis)}: {reason}"
        return said, "", comparison
    ratio = comparison.ratio
    if not math.isfinite(ratio.mean) or abs(math.log(ratio.mean)) < _ALIKE:
        said = f"{second.label} reaches {wanted(analysis)} as soon as {first.label} {_UNITS[cost]}"
        return said, "", comparison
    quick, slow = (second, first) if ratio.mean <= 1 else (first, second)
    times = ratio if ratio.mean > 1 else _inverse(ratio)
    said = f"{quick.label} reaches {wanted(analysis)} {times.mean:.3g} times sooner than {slow.label}"
    said += f" {_UNITS[cost]}"
    left_out = len(first.runs) + len(second.runs) - 2 * comparison.pairs
    if left_out:
        said += f", leaving out {left_out} runs that did not reach it or have no partner of the same seed"
    interval = f"{say_percent(analysis)} interval {times.low:.3g}–{times.high:.3g}" if times.known else ""
    return said, interval, comparison


def _better(analysis: Analysis, first: MeasuredGroup, second: MeasuredGroup) -> _Claim:
    a, b = paired_values(first, second, first.values("mean_of_models"), second.values("mean_of_models"))
    comparison = compare(a, b, confidence=analysis.questions.confidence, seed=analysis.questions.seed)
    metric, difference = analysis.metric, comparison.difference
    if not comparison.pairs:
        said = (
            f"{second.label} and {first.label} have no seed in common, so their final values are not compared"
        )
        return said, "", comparison
    if not abs(difference.mean) > 0:
        return f"{second.label} ends with the same {metric} as {first.label}", "", comparison
    over = "above" if difference.mean > 0 else "below"
    apart = say_difference(analysis, abs(difference.mean))
    interval = ""
    if difference.known:
        low, high = (say_difference(analysis, value) for value in (difference.low, difference.high))
        interval = f"{say_percent(analysis)} interval {low} to {high}"
    return f"{second.label} ends {apart} {over} {first.label} in {metric}", interval, comparison


def _evidence(interval: str, comparison: Comparison, adjusted: float, comparisons: int) -> str:
    """The evidence for a claim, or the reason why there is none."""
    pairs = comparison.pairs
    if not pairs:
        return "."
    if pairs == 1:
        return " (1 seed, so chance cannot be ruled out)."
    parts = [interval] if interval else []
    parts += [say_seeds(pairs), f"paired permutation p = {comparison.p_value:.2g}"]
    if comparisons > 1:
        parts.append(f"{adjusted:.2g} after Holm's correction for {comparisons} comparisons")
    parts.append(f"Wilcoxon p = {comparison.wilcoxon:.2g}")
    if math.isfinite(comparison.effect):
        parts.append(f"effect size d = {comparison.effect:.2g}")
    said = f" ({', '.join(parts)})."
    least = smallest_p(pairs)
    if least > _CLAIMED:
        said += f" {pairs} seeds cannot give a p below {least:.2g}: run more before claiming it."
    elif adjusted > _CLAIMED:
        said += " This may be due to chance."
    return said


def _beside_theory(analysis: Analysis) -> list[str]:
    said = []
    for group in analysis.groups:
        first = group.runs[0]
        for figure in first.theory.figures:
            if figure.measured is None or not math.isfinite(figure.predicted):
                continue
            remark = f": {figure.remark}" if figure.remark else ""
            said.append(
                f"{group.label}: {figure.name}: measured {figure.measured:.4g}, theory {figure.predicted:.4g} "
                f"({figure.kind}){remark}."
            )
    return said


def _why_not(first: MeasuredGroup, second: MeasuredGroup, cost: Cost) -> str:
    never = [group.label for group in (first, second) if not np.isfinite(group.costs[cost]).any()]
    if never:
        return f"{' and '.join(never)} never reached it"
    return f"no seed at which both reached it is common to them (seeds {first.seeds} and {second.seeds})"


def _same_source(first: MeasuredGroup, second: MeasuredGroup) -> bool:
    return {m.run.source for m in first.runs} == {m.run.source for m in second.runs}


def _inverse(ratio: Interval) -> Interval:
    return Interval(mean=1 / ratio.mean, low=1 / ratio.high, high=1 / ratio.low, values=ratio.values)
