"""PENS: nodes find out whose models do well on their own samples, and then mix with these alone.

Onoszko, Karlsson, Mogren & Zec, "Decentralized federated learning of deep neural networks on non-iid data", ICML
workshop on federated learning, 2021 (arXiv 2107.08517).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

import torch
from torch import Tensor

from gossipfl.algorithms.base import (
    Links,
    LocalTraining,
    Neighbourhood,
    NeighbourRows,
    Preview,
    Requirements,
    Round,
    RoundAlgorithm,
    RoundContext,
)
from gossipfl.algorithms.declaration import Parameter
from gossipfl.algorithms.rules import averaged, losses_at_own_samples, nearest_first
from gossipfl.training.nodes import Nodes

__all__ = ["PENS"]

_SURPLUS = "surplus"
_ROUNDING = 1e-3  # of sums of fractions; one more choice than by chance is more


@dataclass(frozen=True, slots=True, kw_only=True)
class PENS(RoundAlgorithm):
    """``x_i ← α x_i + (1 − α) mean of the chosen`` after local training.

    For the first rounds the chosen are the ``top`` of the round's neighbours whose models have the least loss on
    the node's next batch. After that they are those that had been chosen more often than by chance: more often
    than ``top/|N|`` of the times that they were neighbours. Only their models are then sent, which in the paper
    are those asked for. A node that has no such neighbour in a round keeps its own model.
    """

    name = "pens"
    paper = "Onoszko, Karlsson, Mogren & Zec, 2021"
    rule = "x_i ← αx_i + (1 − α) mean of the top by my loss; later of those chosen more often than by chance"
    sends = "P, and a wish to each neighbour; later P to those that chose the node"
    preserves_mean = False

    search: Annotated[int, Parameter("rounds in which nodes look for others like them", ge=1)] = 50
    top: Annotated[int, Parameter("neighbours that are chosen in a round of the search", ge=1)] = 2
    own: Annotated[float, Parameter("α: weight of the own row", ge=0, le=1)] = 0.5
    members: Annotated[int, Parameter(setting=False)] = 0

    @property
    def requirements(self) -> Requirements:
        """Rows that sum to one; the weights are its own."""
        return Requirements(stochastic="rows", own_weights=True)

    def for_members(self, count: int) -> PENS:
        """The algorithm that counts how often each of so many others was chosen."""
        return replace(self, members=count)

    def start(self, nodes: Nodes, *, shared_size: int, links: Links | None = None) -> Nodes:
        """Nobody has been chosen yet."""
        del shared_size, links
        surplus = nodes.rows.new_zeros(len(nodes), self.members)
        return replace(nodes, auxiliary={**nodes.auxiliary, _SURPLUS: surplus})

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        trained = context.local.update(nodes)
        rows, surplus = trained.rows[:, : context.shared_size], nodes.auxiliary[_SURPLUS]
        if context.round >= self.search:
            alike = Preview(summary=_nothing, width=0, wanted=partial(_found, surplus=surplus))
            mixed = yield NeighbourRows(rows, rule=self.mean_of_present, preview=alike)
            return trained.with_shared(mixed.rows, ages=trained.ages)
        rule = partial(self.searching, trained=trained, local=context.local)
        everybody = Preview(summary=_nothing, width=0, wanted=_everybody)
        mixed = yield NeighbourRows(rows, rule=rule, preview=everybody)
        shared, gained = mixed.rows.tensor_split([context.shared_size], dim=1)
        after = trained.with_shared(shared, ages=trained.ages)
        return replace(after, auxiliary={**after.auxiliary, _SURPLUS: surplus + gained})

    def searching(self, around: Neighbourhood, *, trained: Nodes, local: LocalTraining) -> Tensor:
        """Average with the neighbours of least loss; and say who was chosen, and how likely by chance."""
        losses = losses_at_own_samples(around, around.present, trained=trained, local=local)
        ranks, _ = nearest_first(losses, around.present)
        chosen = (ranks < self.top) & around.present
        places = around.present.sum(dim=1, keepdim=True).clamp(min=self.top)
        by_chance = self.top / places.to(around.own.dtype)
        gained = torch.where(around.present, chosen.to(around.own.dtype) - by_chance, 0)
        assert around.neighbours is not None  # noqa: S101 - in a network they are known
        counts = around.own.new_zeros(len(around.own), self.members)
        counts.scatter_add_(1, around.neighbours.clamp(min=0), gained)
        return torch.cat([averaged(around, chosen, own=self.own), counts], dim=1)

    def mean_of_present(self, around: Neighbourhood) -> Tensor:
        """Average with the neighbours that are left."""
        return averaged(around, around.present, own=self.own)


def _nothing(rows: Tensor) -> Tensor:
    return rows[:, :0]


def _everybody(around: Neighbourhood) -> Tensor:
    return around.present


def _found(around: Neighbourhood, *, surplus: Tensor) -> Tensor:
    """Which neighbours were chosen more often than by chance, bool ``[b, K]``."""
    assert around.neighbours is not None  # noqa: S101 - in a network they are known
    return surplus[around.nodes].gather(1, around.neighbours.clamp(min=0)) > _ROUNDING
