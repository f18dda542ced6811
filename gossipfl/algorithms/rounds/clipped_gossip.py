"""Self-centred clipping.

He, Karimireddy & Jaggi, "Byzantine-robust decentralized learning via ClippedGossip", 2022 (arXiv 2202.01545).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from gossipfl.algorithms.base import Neighbourhood
from gossipfl.algorithms.declaration import Parameter
from gossipfl.algorithms.rules import Combining, Hostile, nearest_first

__all__ = ["ClippedGossip", "moved"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClippedGossip(Combining):
    """``x_i ← x_i + Σ_j w_ij clip(x_j − x_i, τ_i)``, where clip shortens vectors longer than τ_i.

    Unless τ is given, ``τ_i² = (1/b̃) Σ_j w_ij ‖x_j − x_i‖²`` over all neighbours but the b farthest, whose weights
    sum to b̃; without a neighbour that may be hostile nothing is clipped. Weights are those of the mixing matrix.
    """

    name = "clipped_gossip"
    paper = "He, Karimireddy & Jaggi, 2022"
    rule = "x_i ← Σ_j w_ij (x_i + clip(x_j − x_i, τ)) after a step"

    radius: Annotated[
        float | None, Parameter("τ; chosen from the distances in each round if unset", gt=0)
    ] = None
    hostile: Hostile = 1

    def combine(self, around: Neighbourhood) -> Tensor:
        """Clip the differences, and move along their weighted sum."""
        distances = (around.rows - around.own[:, None]).norm(dim=2)
        if self.radius is not None:
            return moved(around, distances, torch.full_like(distances[:, :1], self.radius))
        ranks, _ = nearest_first(distances, around.present)
        near = ranks < around.present.sum(dim=1, keepdim=True) - self.hostile
        squares = torch.where(near, around.weights * distances.square(), 0).sum(dim=1, keepdim=True)
        suspected = torch.where(near, 0, around.weights).sum(dim=1, keepdim=True)
        return moved(around, distances, torch.where(suspected > 0, squares / suspected, torch.inf).sqrt())


def moved(around: Neighbourhood, distances: Tensor, radius: Tensor) -> Tensor:
    """Own rows plus weighted differences to the neighbours (at distances ``[b, K]``), clipped at ``[b, 1]``."""
    factors = torch.where(distances > radius, radius / distances, 1)
    weights = around.weights * factors
    total = torch.einsum("bk,bkd->bd", weights, around.rows)
    return around.own + total - weights.sum(dim=1, keepdim=True) * around.own
