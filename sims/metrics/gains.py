"""Fairness of what participants gain: its spread, the worst off, and gain beside what was given."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from sims.metrics.fairness import Fairness, fairness

__all__ = ["GainFairness", "fairness_of_gains", "rank_correlation"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class GainFairness:
    """How evenly n participants gain.

    Parameters
    ----------
    level : Fairness
        Of what they have together.
    mean, spread : float
        Mean and standard deviation of the gains.
    worst_decile : float
        Mean gain of the tenth that gains least, at least one of them.
    worse_off : int
        How many have less than alone.
    per_sample : tuple of float
        Gain of each per sample it brings along.
    given_and_gained : float
        Spearman's rank correlation of what each gave and what it gained: near 1 if who gives more gains more. NaN
        where that is not known, or all gave or gained alike.
    """

    level: Fairness
    mean: float
    spread: float
    worst_decile: float
    worse_off: int
    per_sample: tuple[float, ...]
    given_and_gained: float


def fairness_of_gains(
    together: Floats, gains: Floats, *, samples: NDArray[np.int64], gave: Floats | None, is_loss: bool
) -> GainFairness:
    """Measure how evenly participants gain.

    Parameters
    ----------
    together : ndarray
        What each has, ``[n]``, the more the better: losses with their sign changed.
    gains : ndarray
        What that is more than each has alone, ``[n]``.
    samples : ndarray
        Number of each one's samples, ``[n]``.
    gave : ndarray, optional
        What each gave, ``[n]``.
    is_loss : bool
        Whether the levels are losses with their sign changed.
    """
    tenth = max(1, round(len(gains) / 10))
    return GainFairness(
        level=fairness(np.abs(together) if is_loss else together, lower_is_better=is_loss),
        mean=float(gains.mean()),
        spread=float(gains.std()),
        worst_decile=float(np.sort(gains)[:tenth].mean()),
        worse_off=int((gains < 0).sum()),
        per_sample=tuple((gains / samples).tolist()),
        given_and_gained=math.nan if gave is None else rank_correlation(gave, gains),
    )


def rank_correlation(first: Floats, second: Floats) -> float:
    """Spearman's rank correlation; NaN for fewer than three pairs, or if all values of one are equal.

    References
    ----------
    Spearman, "The proof and measurement of association between two things", 1904.
    """
    both = np.isfinite(first) & np.isfinite(second)
    first, second = first[both], second[both]
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan
    return float(spearmanr(first, second).statistic)
