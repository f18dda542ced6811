"""Nearest-neighbour averaging.

Farhadkhani, Guerraoui, Gupta, Hoang, Pinot & Stephan, "Robust collaborative learning with linear gradient
overhead", ICML 2023 (MoNNA, whose worker momentum is ``training.momentum``).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gossipfl.algorithms.base import Neighbourhood
from gossipfl.algorithms.rules import Combining, Hostile, mean_of, nearest_first

__all__ = ["NearestNeighbours"]


@dataclass(frozen=True, slots=True)
class NearestNeighbours(Combining):
    """Mean of the node's own row and its neighbours', without the b that are farthest from its own."""

    name = "nearest_neighbours"
    paper = "Farhadkhani et al., ICML 2023"
    rule = "mean of the own row and all but the b farthest of the neighbours' rows, after a step"

    hostile: Hostile = 1

    def combine(self, around: Neighbourhood) -> Tensor:
        """Leave out the farthest rows; the node's own is always kept."""
        everyone = around.including_own()
        distances = (everyone.rows - around.own[:, None]).norm(dim=2)
        ranks, _ = nearest_first(distances, everyone.present)
        good = (everyone.present.sum(dim=1, keepdim=True) - self.hostile).clamp(min=1)
        return mean_of(everyone.rows, ranks < good)
