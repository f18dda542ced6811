"""Estimates from a random sample of reports."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gossipfl.peer.estimates.sample import MOST_REPORTS
from gossipfl.wire.reports import Report

__all__ = ["Estimates", "estimates_from"]

_FENCE: Final = 3.0
_FEWEST: Final = 4
_PLACES: Final = 2**64
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimates:
    """Estimates of the network in one epoch.

    Parameters
    ----------
    epoch : int
    reports : int
        Reports that they are made from.
    peers : float
        Number of peers; the relative standard error is 1 / √(K − 2) where it is not exact.
    is_exact : bool
        Whether all peers that reported are in the sample.
    metric : str
        Name of the metric.
    mean, least, most : float or None
        Mean of the metric, and its extremes in the sample after clipping; None before the first evaluation.
    consensus_distance : float or None
        Mean squared distance of the models from their mean; None for fewer than two peers.
    """

    epoch: int
    reports: int
    peers: float
    is_exact: bool
    metric: str
    mean: float | None
    least: float | None
    most: float | None
    consensus_distance: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def estimates_from(reports: Sequence[Report], places: Sequence[int], *, epoch: int, metric: str) -> Estimates:
    """Return what a sample tells of its network.

    Values are clipped to Tukey's outer fences (three interquartile ranges beyond the quartiles of the sample)
    before they are averaged, so a liar moves a mean by a bounded part of how honest members differ, divided by the
    size of the sample. With fewer than four reports nothing is clipped.

    Parameters
    ----------
    reports : sequence of Report
        In the order of the epoch.
    places : sequence of int
        Their places in it.
    """
    is_exact = len(reports) < MOST_REPORTS
    peers = float(len(reports)) if is_exact else (len(reports) - 1) / ((places[-1] + 1) / _PLACES)
    values = np.array([each.metric for each in reports if not math.isnan(each.metric)])
    clipped = _within_fences(values)
    return Estimates(
        epoch=epoch,
        reports=len(reports),
        peers=peers,
        is_exact=is_exact,
        metric=metric,
        mean=float(clipped.mean()) if len(clipped) else None,
        least=float(clipped.min()) if len(clipped) else None,
        most=float(clipped.max()) if len(clipped) else None,
        consensus_distance=_distance(np.array([each.sketch for each in reports])),
    )


def _distance(sketches: Floats) -> float | None:
    """Return the mean squared distance from the mean, of the rows that the sketches are of."""
    if len(sketches) < 2:
        return None
    centre = _within_fences(sketches).mean(axis=0)
    squares = ((sketches - centre) ** 2).sum(axis=1)
    return float(_within_fences(squares).mean())


def _within_fences(values: Floats) -> Floats:
    if len(values) < _FEWEST:
        return values
    low, high = np.quantile(values, [0.25, 0.75], axis=0)
    reach = _FENCE * (high - low)
    return np.clip(values, low - reach, high + reach)
