"""Steps before an aggregation rule: nearest-neighbour mixing, and buckets.

Allouah, Farhadkhani, Guerraoui, Gupta, Pinot & Stephan, "Fixing by mixing: a recipe for optimal Byzantine ML under
heterogeneity", AISTATS 2023; Karimireddy, He & Jaggi, "Byzantine-robust learning on heterogeneous datasets via
bucketing", ICLR 2022.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Literal

import torch
from torch import Tensor

from gossipfl.algorithms.base import Neighbourhood, NeighbourRows, Round, RoundContext
from gossipfl.algorithms.declaration import Parameter
from gossipfl.algorithms.rules import Combining, nearest_first
from gossipfl.codecs.draws import exchange_keys, rekeyed, scores
from gossipfl.training.nodes import Nodes

__all__ = ["Aggregating", "in_buckets", "nearest_mixed", "squared_distances"]

_BUCKETS = 0xB0CCE7  # apart from draws of codecs

Before = Literal["nothing", "nearest_mixing", "bucketing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregating(Combining):
    """A rule that treats the node's own row as one of the rows that it aggregates."""

    before: Annotated[
        Before,
        Parameter(
            "first replace each row by the mean of its n − b nearest (NNM), or by means of random buckets of rows"
        ),
    ] = "nothing"
    bucket: Annotated[int, Parameter("s: rows in a bucket", ge=1)] = 2

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        trained = context.local.update(nodes)
        keys = exchange_keys(context.numbers, seed=context.seed, round_number=context.round)
        rule = partial(self._combined, rekeyed(keys, _BUCKETS))
        mixed = yield NeighbourRows(trained.rows[:, : context.shared_size], rule=rule)
        return trained.with_shared(mixed.rows, ages=trained.ages)

    def combine(self, around: Neighbourhood) -> Tensor:
        """Rows of the nodes after the exchange; buckets are of the rows in their order."""
        return self._combined(None, around)

    def _combined(self, keys: Tensor | None, around: Neighbourhood) -> Tensor:
        everyone = around.including_own()
        if self.before == "nearest_mixing":
            everyone = nearest_mixed(everyone, hostile=getattr(self, "hostile", 0))
        elif self.before == "bucketing":
            of_these = None if keys is None else keys.to(around.nodes.device)[around.nodes]
            everyone = in_buckets(everyone, size=self.bucket, keys=of_these)
        return self.aggregate(everyone)

    def aggregate(self, everyone: Neighbourhood) -> Tensor:
        """Aggregate the rows ``[b, K, D]``, the node's own among them."""
        raise NotImplementedError


def nearest_mixed(everyone: Neighbourhood, *, hostile: int) -> Neighbourhood:
    """Replace each row by the mean of the n − b rows nearest to it, itself included."""
    counts = everyone.present.sum(dim=1)
    good = (counts - hostile).clamp(min=1)[:, None]
    size = everyone.rows.shape[1]
    squares = squared_distances(everyone.rows - everyone.own[:, None])
    ranks, _ = nearest_first(squares.reshape(-1, size), everyone.present.repeat_interleave(size, dim=0))
    near = (ranks.view(-1, size, size) < good[..., None]).to(everyone.rows.dtype)
    mixed = near @ everyone.rows / near.sum(dim=2, keepdim=True)
    return replace(everyone, rows=torch.where(everyone.present[..., None], mixed, 0))


def in_buckets(everyone: Neighbourhood, *, size: int, keys: Tensor | None) -> Neighbourhood:
    """Means of buckets of ``size`` rows, the last one smaller, in the place of the rows.

    Parameters
    ----------
    everyone : Neighbourhood
    size : int
    keys : Tensor, optional
        Of each node's shuffle, int64 ``[b]``; by default nothing is shuffled.
    """
    present, places = everyone.present, everyone.rows.shape[1]
    if keys is None:
        order = torch.arange(places, device=present.device).expand_as(present).to(torch.float64)
        ranks, _ = nearest_first(order, present)
    else:
        # Draws go to those present in their order, so that absent places change nothing.
        drawn = scores(keys, places).gather(1, (present.cumsum(dim=1) - 1).clamp(min=0))
        first = torch.where(present, drawn.bitwise_right_shift(1), torch.iinfo(torch.int64).max)
        ranks = first.argsort(dim=1, stable=True).argsort(dim=1, stable=True)
    buckets = torch.arange(-(-places // size), device=present.device)
    belongs = (ranks // size)[:, None] == buckets[None, :, None]
    members = (belongs & present[:, None]).to(everyone.rows.dtype)
    counts = members.sum(dim=2)
    means = members @ everyone.rows / counts.clamp(min=1)[..., None]
    weights = torch.einsum("bjk,bk->bj", members, everyone.weights)
    return replace(everyone, rows=means, weights=weights, present=counts > 0)


def squared_distances(rows: Tensor) -> Tensor:
    """Between all pairs of rows, ``[b, K, K]``, by products, in which rows about zero lose few digits."""
    products = rows @ rows.mT
    squares = products.diagonal(dim1=1, dim2=2)
    return (squares[:, :, None] + squares[:, None] - 2 * products).clamp_(min=0)
