"""Search of a step size on a geometric grid: extended while the best is at its edge, then refined."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["GeometricSearch"]

_START = (-1.0, 0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class GeometricSearch:
    """Values of a positive setting to try next, given the scores of others.

    Values are ``around · ratio^e``. Exponents −1, 0 and 1 come first. While the best exponent is the smallest or
    the largest tried, the next one beyond it is tried; otherwise the two halfway to its neighbours, then those
    halfway to these, until the budget is spent. Every search thus tries exactly the same number of values.

    Parameters
    ----------
    around : float
        Positive.
    ratio : float
        Above 1.
    budget : int
        Values tried in all, at least 3.
    """

    around: float
    ratio: float
    budget: int

    def value(self, exponent: float) -> float:
        """The value at an exponent, rounded to six digits so that it can be quoted."""
        return float(f"{self.around * self.ratio**exponent:.6g}")

    def wanted(self, scores: Mapping[float, float]) -> list[float]:
        """Exponents to try next.

        Parameters
        ----------
        scores : mapping of float to float
            Score of each exponent tried so far, larger is better; −∞ for a failed trial.

        Returns
        -------
        list of float
            Empty once the budget is spent.
        """
        left = self.budget - len(scores)
        if not scores:
            return list(_START)
        tried, best = sorted(scores), self.best(scores)
        if best == tried[0]:
            return [best - 1][:left]
        if best == tried[-1]:
            return [best + 1][:left]
        place = tried.index(best)
        below, above = tried[place - 1], tried[place + 1]
        # the wider side first, else the side whose end did better
        sides = sorted(
            ((below, best - below), (above, above - best)),
            key=lambda side: (-side[1], -scores[side[0]], side[0]),
        )
        halfway = [(best + end) / 2 for end, distance in sides if math.isclose(distance, sides[0][1])]
        return halfway[:left]

    @staticmethod
    def best(scores: Mapping[float, float]) -> float:
        """The exponent with the highest score; of several, the one nearest to the start, the smaller one first."""
        return min(scores, key=lambda exponent: (-scores[exponent], abs(exponent), exponent))
