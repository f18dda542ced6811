"""UBAR: the nearest neighbours, and of those the ones that do no worse on the node's own samples.

Guo, Zhang, Yu, Xie, Ma, Xiang & Liu, "Byzantine-resilient decentralized stochastic gradient descent", IEEE Trans.
Circuits and Systems for Video Technology 32(6), 2022.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch
from torch import Tensor

from gossipfl.algorithms.base import (
    LocalTraining,
    Neighbourhood,
    NeighbourRows,
    Requirements,
    Round,
    RoundAlgorithm,
    RoundContext,
)
from gossipfl.algorithms.declaration import Parameter
from gossipfl.algorithms.rules import averaged, losses_at_own_samples, nearest_first, own_losses
from gossipfl.training.nodes import Nodes

__all__ = ["UBAR"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UBAR(RoundAlgorithm):
    """``x_i ← α x_i + (1 − α) mean of the accepted``.

    Of the neighbours, the share ρ that is nearest is taken, and of those all whose loss on the node's next batch
    is at most its own; if there is none, the one with the least loss.
    """

    name = "ubar"
    paper = "Guo et al., IEEE TCSVT 2022"
    rule = "x_i ← α x_i + (1 − α) mean of those of the ρ|N| nearest with at most my loss on my batch, after a step"
    preserves_mean = False

    kept: Annotated[float, Parameter("ρ: share of the neighbours that may be honest", gt=0, le=1)] = 0.5
    own: Annotated[float, Parameter("α: weight of the own row", ge=0, le=1)] = 0.5

    @property
    def requirements(self) -> Requirements:
        """Rows that sum to one; the weights are its own."""
        return Requirements(stochastic="rows", own_weights=True)

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        trained = context.local.update(nodes)
        rule = partial(self.combine, trained=trained, local=context.local)
        mixed = yield NeighbourRows(trained.rows[:, : context.shared_size], rule=rule)
        return trained.with_shared(mixed.rows, ages=trained.ages)

    def combine(self, around: Neighbourhood, *, trained: Nodes, local: LocalTraining) -> Tensor:
        """Choose by distance, then by loss."""
        ranks, _ = nearest_first((around.rows - around.own[:, None]).norm(dim=2), around.present)
        counts = around.present.sum(dim=1, keepdim=True)
        near = (ranks < (self.kept * counts).round().clamp(min=1)) & around.present
        losses = losses_at_own_samples(around, near, trained=trained, local=local)
        good = near & (losses <= own_losses(around, trained=trained, local=local))
        best = (losses.argmin(dim=1, keepdim=True) == torch.arange(near.shape[1], device=near.device)) & near
        accepted = torch.where(good.any(dim=1, keepdim=True), good, best)
        return averaged(around, accepted, own=self.own)
