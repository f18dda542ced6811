"""Figures in words: shares in per cent, differences of shares in points."""

from __future__ import annotations

from sims.analysis.comparison.analysis import Analysis
from sims.analysis.comparison.statistics import Interval

__all__ = ["say_difference", "say_figure", "say_interval", "say_percent", "say_seeds", "wanted"]


def wanted(analysis: Analysis) -> str:
    """The target in words, e.g. ``90 % accuracy``."""
    assert analysis.target is not None  # noqa: S101 - the callers'
    return f"{say_figure(analysis, analysis.target)} {analysis.metric}"


def say_percent(analysis: Analysis) -> str:
    """The confidence of intervals, e.g. ``95 %``."""
    return f"{100 * analysis.questions.confidence:g} %"


def _is_share(analysis: Analysis) -> bool:
    return not analysis.lower_is_better and all(
        0 <= value <= 1 for measured in analysis.runs for value in measured.nodes
    )


def say_figure(analysis: Analysis, value: float) -> str:
    """A value of the metric: ``96.4 %`` if it is a share, ``0.1312`` if not."""
    return f"{100 * value:.3g} %" if _is_share(analysis) else f"{value:.4g}"


def say_difference(analysis: Analysis, value: float) -> str:
    """A difference of two values of the metric: ``1.4 points`` if they are shares."""
    return f"{100 * value:.2g} points" if _is_share(analysis) else f"{value:.3g}"


def say_interval(analysis: Analysis, interval: Interval) -> str:
    """A mean over seeds, with its interval if there is one."""
    said = say_figure(analysis, interval.mean)
    if interval.known:
        said += (
            f" ({say_percent(analysis)} interval {say_figure(analysis, interval.low)} to "
            f"{say_figure(analysis, interval.high)})"
        )
    return said


def say_seeds(count: int) -> str:
    """The number of seeds."""
    return "1 seed" if count == 1 else f"{count} seeds"
