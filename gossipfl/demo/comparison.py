"""Differences between two trainings on the same authors' words: their mean, and its interval over authors."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Difference"]

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """A mean difference in percentage points, with the half-width of its 95 % interval (Student's t over authors).

    Parameters
    ----------
    mean, reach : float
        With fewer than two authors the reach is infinite.
    """

    mean: float
    reach: float

    @classmethod
    def of(cls, ours: Sequence[float], theirs: Sequence[float]) -> Difference:
        """Of ours minus theirs, which are shares of the same authors in the same order."""
        from scipy.stats import t as student

        found = [100 * (own - other) for own, other in zip(ours, theirs, strict=True)]
        if len(found) < 2:
            return cls(sum(found), math.inf)
        error = statistics.stdev(found) / math.sqrt(len(found))
        return cls(statistics.fmean(found), float(student.ppf((1 + _CONFIDENCE) / 2, len(found) - 1)) * error)

    @property
    def upper(self) -> float:
        """Upper end of the interval."""
        return self.mean + self.reach

    def __str__(self) -> str:
        return f"{self.mean:+.1f} ± {self.reach:.1f}"
