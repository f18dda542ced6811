"""Trimmed mean and median of each coordinate.

Yin, Chen, Ramchandran & Bartlett, "Byzantine-robust distributed learning: towards optimal statistical rates",
ICML 2018; between neighbours: Fang, Yang & Bajwa, "BRIDGE: Byzantine-resilient decentralized gradient descent",
IEEE Trans. Signal and Information Processing over Networks 8, 2022.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gossipfl.algorithms.base import Neighbourhood
from gossipfl.algorithms.pre_aggregation import Aggregating
from gossipfl.algorithms.rules import Hostile, OfMixing, ascending

__all__ = ["CoordinateMedian", "TrimmedMean"]


@dataclass(frozen=True, slots=True)
class TrimmedMean(Aggregating):
    """Mean of each coordinate over own and neighbours' rows, without the b largest and b smallest values."""

    name = "trimmed_mean"
    paper = "Yin et al., ICML 2018; Fang, Yang & Bajwa, IEEE TSIPN 2022"
    rule = "per coordinate: mean of own and neighbours' values after a step, without the b largest and b smallest"

    hostile: Hostile = 1

    def aggregate(self, everyone: Neighbourhood) -> Tensor:
        """Cut b values off each end, fewer if none would be left."""
        counts = everyone.present.sum(dim=1)
        cut = torch.clamp((counts - 1) // 2, max=self.hostile)
        return _mean_between(ascending(everyone.rows, everyone.present), cut, counts - cut)


@dataclass(frozen=True, slots=True)
class CoordinateMedian(Aggregating):
    """Median of each coordinate over own and neighbours' rows; with an even number, the mean of the middle two."""

    name = "coordinate_median"
    paper = "Yin et al., ICML 2018; Fang, Yang & Bajwa, IEEE TSIPN 2022"
    rule = "per coordinate: median of own and neighbours' values after a step"

    hostile: OfMixing = 1

    def aggregate(self, everyone: Neighbourhood) -> Tensor:
        """Take the middle."""
        counts = everyone.present.sum(dim=1)
        return _mean_between(ascending(everyone.rows, everyone.present), (counts - 1) // 2, counts // 2 + 1)


def _mean_between(ordered: Tensor, first: Tensor, end: Tensor) -> Tensor:
    if bool((first == first[0]).all()) and bool((end == end[0]).all()):  # all have as many neighbours
        return ordered[:, int(first[0]) : int(end[0])].mean(dim=1)
    places = torch.arange(ordered.shape[1], device=ordered.device)
    kept = (places >= first[:, None]) & (places < end[:, None])
    return torch.where(kept[..., None], ordered, 0).sum(dim=1) / (end - first)[:, None]
