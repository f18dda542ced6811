"""Bootstrap confidence intervals of means over seeds."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap

__all__ = ["Interval", "mean_interval"]

_RESAMPLES = 9999


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its bounds; both bounds are None where a single value leaves nothing to resample."""

    mean: float
    low: float | None
    high: float | None


def mean_interval(values: Sequence[float], *, confidence: float = 0.95) -> Interval:
    """Mean with its bias-corrected and accelerated bootstrap interval (Efron 1987), by `scipy.stats.bootstrap`.

    Parameters
    ----------
    values : sequence of float
        At least one, finite. With few values the interval is too narrow: it cannot reach beyond them.
    confidence : float
    """
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return Interval(mean, None, None)
    if max(values) == min(values):
        return Interval(mean, mean, mean)
    sample = (np.asarray(values, dtype=np.float64),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = bootstrap(
            sample,
            np.mean,
            confidence_level=confidence,
            n_resamples=_RESAMPLES,
            method="BCa",
            random_state=np.random.Generator(np.random.Philox(0)),
        ).confidence_interval
    return Interval(mean, float(found.low), float(found.high))
