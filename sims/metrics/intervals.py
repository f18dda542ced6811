"""Bootstrap confidence intervals of means over seeds."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

__all__ = ["bootstrapped", "mean_interval"]

_RESAMPLES = 9999


def bootstrapped(
    values: NDArray[np.float64], *, confidence: float, generator: Callable[[], np.random.Generator]
) -> tuple[float, float]:
    """Ends of the interval of a mean: bias-corrected and accelerated (Efron 1987), by `scipy.stats.bootstrap`.

    By percentiles where that is undefined; the values themselves where they are equal.

    Parameters
    ----------
    values : ndarray
        At least two. Few values give too narrow an interval: it cannot reach beyond them.
    confidence : float
    generator : callable
        Makes the generator of the resamples.
    """
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of intervals that are not defined; these are taken by percentiles
        for method in ("BCa", "percentile"):
            found = bootstrap(
                (values,),
                np.mean,
                n_resamples=_RESAMPLES,
                confidence_level=confidence,
                method=method,
                rng=generator(),
            ).confidence_interval
            if math.isfinite(found.low) and math.isfinite(found.high):
                break
    return float(found.low), float(found.high)


def mean_interval(
    values: Sequence[float], *, confidence: float = 0.95
) -> tuple[float, float | None, float | None]:
    """Mean of one or more finite values, and its bounds; None where a single value leaves nothing to resample."""
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, None, None
    sample = np.asarray(values, dtype=np.float64)
    return mean, *bootstrapped(
        sample, confidence=confidence, generator=lambda: np.random.Generator(np.random.Philox(0))
    )
