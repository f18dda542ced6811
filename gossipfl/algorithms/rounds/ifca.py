"""IFCA among neighbours: several models, of which each node trains the one that does best on its own samples.

Ghosh, Chung, Yin & Ramchandran, "An efficient framework for clustered federated learning", NeurIPS 2020 (arXiv
2006.04088), whose server is replaced by each node's own copies of all models.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

import torch
from torch import Tensor

from gossipfl.algorithms.base import (
    Links,
    Neighbourhood,
    NeighbourRows,
    Requirements,
    Round,
    RoundAlgorithm,
    RoundContext,
)
from gossipfl.algorithms.declaration import Parameter
from gossipfl.codecs.draws import exchange_keys
from gossipfl.training.nodes import Nodes, before_rest

__all__ = ["IFCA"]

_MODELS = "models"


@dataclass(frozen=True, slots=True, kw_only=True)
class IFCA(RoundAlgorithm):
    """Choose the best of one's copies of K models, train it, and average each model over those who chose it.

    A node sends the model that it trained and which it is. Of model k it keeps the mean, by the weights of the
    mixing matrix, of its own copy and those of the neighbours that trained it: so copies of models that a node
    does not use follow what its neighbours make of them. ``rows`` are the copies chosen.

    All models begin alike. For the first rounds the nodes' choices are drawn at random once and stay, so that
    models grow apart whatever the module; the paper draws the models instead.
    """

    name = "ifca"
    paper = "Ghosh et al., NeurIPS 2020"
    rule = "k_i = argmin_k ℓ_i(y_ik); a step of y_ik_i; y_ik ← weighted mean of y_ik and of x_j that are models k"
    sends = "P + models"
    preserves_mean = False

    models: Annotated[int, Parameter("K: how many models there are", ge=1)] = 2
    drawn: Annotated[int, Parameter("rounds in which choices are random, and stay", ge=0)] = 5

    @property
    def requirements(self) -> Requirements:
        """Rows that sum to one, of numbers that a lossy codec would turn into other models."""
        return Requirements(stochastic="rows", exact=True)

    def start(self, nodes: Nodes, *, shared_size: int, links: Links | None = None) -> Nodes:
        """Equal copies of all models."""
        del links
        copies = nodes.rows[:, :shared_size].repeat(1, self.models)
        return replace(nodes, auxiliary={**nodes.auxiliary, _MODELS: copies})

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        size = context.shared_size
        copies = nodes.auxiliary[_MODELS].view(len(nodes), self.models, size)
        chosen = self._chosen(nodes, copies, context)
        own = torch.arange(len(nodes), device=copies.device)
        trained = context.local.update(nodes.with_shared(copies[own, chosen], ages=nodes.ages))
        copies = copies.clone()
        copies[own, chosen] = trained.rows[:, :size]
        which = torch.nn.functional.one_hot(chosen, self.models).to(copies.dtype)
        rule = partial(_means, copies=copies)
        mixed = yield NeighbourRows(torch.cat([trained.rows[:, :size], which], dim=1), rule=rule)
        copies = mixed.rows.view(len(nodes), self.models, size)
        after = trained.with_shared(copies[own, chosen], ages=trained.ages)
        return replace(after, auxiliary={**trained.auxiliary, _MODELS: mixed.rows})

    def _chosen(self, nodes: Nodes, copies: Tensor, context: RoundContext) -> Tensor:
        """Which model each node uses, int64 ``[B]``."""
        if context.round < self.drawn:
            keys = exchange_keys(context.numbers.cpu(), seed=context.seed, round_number=0)
            return (keys % self.models).to(copies.device)
        owners = torch.arange(len(nodes), device=copies.device).repeat_interleave(self.models)
        rows = before_rest(copies.reshape(-1, context.shared_size), nodes.rows[owners])
        losses = context.local.losses_of(nodes, rows, owners).nan_to_num(nan=torch.inf)
        return losses.view(len(nodes), self.models).argmin(dim=1)


def _means(around: Neighbourhood, *, copies: Tensor) -> Tensor:
    """Means of each model over the node's own copy and the neighbours that trained it, ``[b, K·P]``."""
    own = copies[around.nodes]
    count, models, size = own.shape
    which = around.rows[..., size:].argmax(dim=2)
    trains = torch.nn.functional.one_hot(which, models).to(own.dtype)  # [b, neighbours, K]
    weights = torch.where(around.present, around.weights, 0)[..., None] * trains
    theirs = torch.einsum("bnk,bnd->bkd", weights, around.rows[..., :size])
    of_own = around.own_weights[:, None, None]
    total = of_own + weights.sum(dim=1)[..., None]
    mean = (of_own * own + theirs) / total
    return torch.where(total > 0, mean, own).reshape(count, models * size)
