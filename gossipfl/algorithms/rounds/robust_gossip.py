"""Clipped sums and trimmed sums of differences, with the largest possible breakdown point.

Gaucher, Dieuleveut & Hendrikx, "Unified breakdown analysis for Byzantine robust gossip", ICML 2025: F-RG,
``x_i ← x_i − η F({x_i − x_j})``. With mixing matrices I − ηL, as here, η is in the weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gossipfl.algorithms.base import Neighbourhood
from gossipfl.algorithms.rounds.clipped_gossip import moved
from gossipfl.algorithms.rules import Combining, Hostile, nearest_first

__all__ = ["GTS", "CSPlus"]


@dataclass(frozen=True, slots=True)
class CSPlus(Combining):
    """All differences are clipped at the (2b + 1)-th largest distance, and summed with the mixing weights."""

    name = "cs_plus"
    paper = "Gaucher, Dieuleveut & Hendrikx, ICML 2025"
    rule = "x_i ← x_i + Σ_j w_ij clip(x_j − x_i, (2b + 1)-th largest ‖x_j − x_i‖) after a step"

    hostile: Hostile = 1

    def combine(self, around: Neighbourhood) -> Tensor:
        """Clip; who has no more than 2b neighbours stays where it is."""
        distances = (around.rows - around.own[:, None]).norm(dim=2)
        _, ordered = nearest_first(distances, around.present)
        place = around.present.sum(dim=1, keepdim=True) - (2 * self.hostile + 1)
        radius = torch.where(place >= 0, ordered.gather(1, place.clamp(min=0)), 0)
        return moved(around, distances, radius)


@dataclass(frozen=True, slots=True)
class GTS(Combining):
    """The differences to the b farthest neighbours are left out; the others are summed with the mixing weights."""

    name = "gts"
    paper = "Gaucher, Dieuleveut & Hendrikx, ICML 2025"
    rule = "x_i ← x_i + Σ_j w_ij (x_j − x_i) over all but the b farthest neighbours, after a step"

    hostile: Hostile = 1

    def combine(self, around: Neighbourhood) -> Tensor:
        """Drop the farthest."""
        distances = (around.rows - around.own[:, None]).norm(dim=2)
        ranks, _ = nearest_first(distances, around.present)
        near = ranks < around.present.sum(dim=1, keepdim=True) - self.hostile
        kept = replace(around, weights=torch.where(near, around.weights, 0))
        return moved(kept, distances, torch.full_like(distances[:, :1], torch.inf))
