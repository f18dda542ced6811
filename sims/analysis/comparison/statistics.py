"""Statistics of a few seeds: intervals, and paired comparisons."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sims.metrics.intervals import bootstrapped

__all__ = [
    "Comparison",
    "Interval",
    "band",
    "compare",
    "confidence_interval",
    "holm",
    "smallest_p",
]

Floats = NDArray[np.float64]

_BAND_RESAMPLES = 999
_FEWEST_FOR_BOOTSTRAP = 3  # with two values, a bootstrap sees only three different means


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean over seeds.

    Parameters
    ----------
    mean : float
        NaN without values.
    low, high : float
        Ends of the confidence interval; NaN with fewer than three values.
    values : int
    """

    mean: float
    low: float
    high: float
    values: int

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return math.isfinite(self.low) and math.isfinite(self.high)


def confidence_interval(
    values: Sequence[float] | Floats, *, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """Mean of a few values, with its bootstrap confidence interval.

    Parameters
    ----------
    values : sequence of float
        One a seed; NaN are left out.
    confidence : float
    seed : int
        Draws the resamples.

    Returns
    -------
    Interval
        See `sims.metrics.intervals.bootstrapped`; read it with the number of seeds.
    """
    given = np.asarray(values, dtype=np.float64)
    given = given[~np.isnan(given)]
    mean = float(given.mean()) if len(given) else float("nan")
    if len(given) < _FEWEST_FOR_BOOTSTRAP:
        return Interval(mean=mean, low=float("nan"), high=float("nan"), values=len(given))
    low, high = bootstrapped(given, confidence=confidence, generator=lambda: np.random.default_rng(seed))
    return Interval(mean=mean, low=low, high=high, values=len(given))


def band(curves: Floats, *, confidence: float = 0.95, seed: int = 0) -> tuple[Floats, Floats, Floats]:
    """Mean curve of several seeds, and its pointwise confidence band.

    Parameters
    ----------
    curves : ndarray
        Shape ``[seeds, points]``.

    Returns
    -------
    mean, low, high : ndarray
        Shape ``[points]``; the band is NaN with fewer than three seeds.
    """
    mean: Floats = curves.mean(axis=0)
    unknown: Floats = np.full(curves.shape[1], np.nan)
    if len(curves) < _FEWEST_FOR_BOOTSTRAP:
        return mean, unknown, unknown
    generator = np.random.default_rng(seed)
    chosen = generator.integers(len(curves), size=(_BAND_RESAMPLES, len(curves)))
    resampled = curves[chosen].mean(axis=1)
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(resampled, [tail, 1 - tail], axis=0)
    return mean, np.asarray(low), np.asarray(high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two algorithms, measured on the same seeds."""

    pairs: int
    """Seeds that both have."""
    difference: Interval
    """Second minus first."""
    ratio: Interval
    """Second over first, geometric mean over seeds; NaN where a value is not positive."""
    p_value: float
    """Two-sided paired permutation test of the mean difference, exact for up to 13 pairs; NaN with fewer than two.
    """
    wilcoxon: float
    """p of Wilcoxon's signed-rank test, two-sided."""
    effect: float
    """Cohen's d of paired values: mean difference over its standard deviation. Infinite if that is 0."""


def compare(first: Floats, second: Floats, *, confidence: float = 0.95, seed: int = 0) -> Comparison:
    """Compare two algorithms pair by pair.

    Parameters
    ----------
    first, second : ndarray
        Values of the same seeds in the same order, ``[pairs]``; pairs with a NaN are left out.

    References
    ----------
    Pitman, "Significance tests which may be applied to samples from any populations", 1937. Wilcoxon,
    "Individual comparisons by ranking methods", 1945. Cohen, "Statistical power analysis for the behavioral
    sciences", 1988, for d.
    """
    both = ~(np.isnan(first) | np.isnan(second))
    first, second = first[both], second[both]
    differences = second - first
    p_value = wilcoxon = effect = float("nan")
    if len(differences) >= 2:
        p_value = _permuted(differences, seed)
        deviation = float(differences.std(ddof=1))
        mean = float(differences.mean())
        effect = mean / deviation if deviation > 0 else math.copysign(math.inf, mean) if mean else 0.0
        if np.any(differences != 0):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of ties, for which it approximates
                wilcoxon = float(stats.wilcoxon(differences).pvalue)
        else:
            wilcoxon = 1.0
    return Comparison(
        pairs=len(differences),
        difference=confidence_interval(differences, confidence=confidence, seed=seed),
        ratio=_ratio(first, second, confidence, seed),
        p_value=p_value,
        wilcoxon=wilcoxon,
        effect=effect,
    )


def smallest_p(pairs: int) -> float:
    """The smallest p-value of a two-sided paired permutation test: 2 / 2^pairs."""
    return min(1.0, 2.0 ** (1 - pairs))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values of several comparisons so that the chance of any false finding is kept (Holm 1979)."""
    order = np.argsort(p_values)
    adjusted, worst, left = [0.0] * len(p_values), 0.0, len(p_values)
    for position in order:
        worst = max(worst, min(1.0, left * p_values[position]))
        adjusted[position] = worst
        left -= 1
    return adjusted


def _permuted(differences: Floats, seed: int) -> float:
    if not np.any(differences != 0):
        return 1.0
    found = stats.permutation_test(
        (differences, np.zeros_like(differences)),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=2**13,
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def _ratio(first: Floats, second: Floats, confidence: float, seed: int) -> Interval:
    if not len(first) or not ((first > 0) & (second > 0)).all():
        nan = float("nan")
        return Interval(mean=nan, low=nan, high=nan, values=0)
    logarithms = confidence_interval(np.log(second / first), confidence=confidence, seed=seed)
    return Interval(
        mean=math.exp(logarithms.mean),
        low=math.exp(logarithms.low),
        high=math.exp(logarithms.high),
        values=logarithms.values,
    )
