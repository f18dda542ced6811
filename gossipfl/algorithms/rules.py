"""Parts of algorithms that combine models by a rule on the rows of all neighbours."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated

import numpy as np
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
from gossipfl.training.nodes import Nodes, before_rest

__all__ = [
    "Combining",
    "Hostile",
    "OfMixing",
    "ascending",
    "averaged",
    "losses_at_own_samples",
    "mean_of",
    "nearest_first",
    "own_losses",
]

Hostile = Annotated[int, Parameter("b: how many neighbours of a node may be hostile", ge=0)]
OfMixing = Annotated[int, Parameter("b, which nearest_mixing alone needs", ge=0)]


class Combining(RoundAlgorithm):
    """Train, send the model to all neighbours, and combine its own model with theirs by the rule.

    Where a node has fewer rows than the rule needs to withstand b hostile ones, it assumes the largest number of
    hostile rows that the rule can withstand among those it has.
    """

    __slots__ = ()
    preserves_mean = False

    @property
    def requirements(self) -> Requirements:
        """Rows that sum to one."""
        return Requirements(stochastic="rows")

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        trained = context.local.update(nodes)
        mixed = yield NeighbourRows(trained.rows[:, : context.shared_size], rule=self.combine)
        return trained.with_shared(mixed.rows, ages=trained.ages)

    @abstractmethod
    def combine(self, around: Neighbourhood) -> Tensor:
        """Rows of the nodes after the exchange, ``[b, D]``."""


def ascending(rows: Tensor, present: Tensor) -> Tensor:
    """Sort rows ``[b, K, D]`` coordinate by coordinate along the neighbours; those not present come last."""
    known = rows if bool(present.all()) else rows.masked_fill(~present[..., None], torch.inf)
    if known.device.type != "cpu":
        return known.sort(dim=1).values
    return torch.from_numpy(np.sort(known.numpy(), axis=1))  # ten times as fast


def nearest_first(distances: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Rank the neighbours by distance, ``[b, K]``.

    Returns
    -------
    ranks : Tensor
        Of each neighbour, from 0 for the nearest, int64 ``[b, K]``; those not present come last.
    ordered : Tensor
        The distances in that order; infinite for those not present.
    """
    ordered, order = distances.masked_fill(~present, torch.inf).sort(dim=1, stable=True)
    places = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places), ordered


def losses_at_own_samples(
    around: Neighbourhood, wanted: Tensor, *, trained: Nodes, local: LocalTraining
) -> Tensor:
    """Losses of neighbours' models on each node's own next batch, ``[b, K]``.

    Parameters
    ----------
    around : Neighbourhood
        Its rows are models' shared parts; the rest of each model is the node's own.
    wanted : Tensor
        Which neighbours' are needed, bool ``[b, K]``; the others' are infinite, as are losses that are not finite.
    trained : Nodes
        All nodes of the round.
    local : LocalTraining
    """
    whose, _ = wanted.nonzero(as_tuple=True)
    owners = around.nodes[whose]
    losses = torch.full_like(around.weights, torch.inf)
    losses[wanted] = local.losses_of(trained, before_rest(around.rows[wanted], trained.rows[owners]), owners)
    return losses.nan_to_num(nan=torch.inf, posinf=torch.inf)


def own_losses(around: Neighbourhood, *, trained: Nodes, local: LocalTraining) -> Tensor:
    """Losses of the nodes' own models on their next batches, ``[b, 1]``."""
    rows = before_rest(around.own, trained.rows[around.nodes])
    return local.losses_of(trained, rows, around.nodes)[:, None]


def mean_of(rows: Tensor, chosen: Tensor) -> Tensor:
    """Mean of the chosen (bool ``[b, K]``) of rows ``[b, K, D]``; at least one of each node's is."""
    weights = chosen.to(rows.dtype)
    return torch.einsum("bk,bkd->bd", weights / weights.sum(dim=1, keepdim=True), rows)


def averaged(around: Neighbourhood, accepted: Tensor, *, own: float) -> Tensor:
    """``own · x_i + (1 − own) · mean of the accepted``; the own row where none is."""
    known = torch.where(accepted[..., None], around.rows, 0)  # others may be NaN
    mean = mean_of(known, accepted)
    return torch.where(accepted.any(dim=1, keepdim=True), own * around.own + (1 - own) * mean, around.own)
