"""The measurements of one configuration over its seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sims.analysis.comparison.measuring import Measured
from sims.analysis.comparison.questions import Questions
from sims.analysis.comparison.statistics import Interval, band, confidence_interval
from sims.analysis.measures.targets import Cost

__all__ = ["MeasuredGroup"]

_GRID = 200

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class MeasuredGroup:
    """Runs of one configuration, measured.

    Parameters
    ----------
    label : str
    runs : tuple of Measured
        In order of their seeds.
    costs : dict
        For each of round, seconds, messages and bytes, how much each run had spent when it reached the target; NaN
        for those that did not. Empty without a target.
    """

    label: str
    runs: tuple[Measured, ...]
    costs: dict[Cost, Floats]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the runs."""
        return tuple(measured.run.seed for measured in self.runs)

    @property
    def reached(self) -> int:
        """Number of runs that reached the target."""
        return int(np.isfinite(self.costs["round"]).sum()) if self.costs else 0

    def values(self, name: str) -> Floats:
        """A measurement of every run: ``mean_of_models``, ``mean_model``, ``worst``, ``gap`` and the like."""
        return np.array([getattr(measured, name) for measured in self.runs], dtype=np.float64)

    def fairness(self, name: str) -> float:
        """Mean of a measure of fairness over runs where it is defined; NaN if nowhere, as where all have 0."""
        return _mean([getattr(each.fairness, name) for each in self.runs if each.fairness is not None])

    @property
    def effective_rate(self) -> float:
        """Mean effective learning rate; NaN if it is known of no run."""
        return _mean([each.effective.relative for each in self.runs if each.effective is not None])

    def interval(self, name: str, questions: Questions) -> Interval:
        """Mean of a measurement over seeds, with its confidence interval."""
        return confidence_interval(self.values(name), confidence=questions.confidence, seed=questions.seed)

    def band(
        self, column: str, questions: Questions, *, over: str = "round"
    ) -> tuple[Floats, Floats, Floats, Floats] | None:
        """Another column, and this one's mean, low and high over seeds, ``[k]`` each; None if no run has it.

        Runs measured at different times are interpolated, each within the span it covers.
        """
        runs = [measured.run for measured in self.runs]
        curves = [(run.column(over), run.column(column)) for run in runs]
        curves = [(x[ok], y[ok]) for x, y in curves if (ok := np.isfinite(x) & np.isfinite(y)).any()]
        if not curves:
            return None
        x = curves[0][0]
        if any(len(other) != len(x) or not np.array_equal(other, x) for other, _ in curves):
            x = np.linspace(min(c[0][0] for c in curves), max(c[0][-1] for c in curves), _GRID)
        values = np.stack([np.interp(x, at, y, left=np.nan, right=np.nan) for at, y in curves])
        return x, *band(values, confidence=questions.confidence, seed=questions.seed)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan
