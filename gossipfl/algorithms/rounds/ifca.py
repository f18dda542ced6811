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

_MODELS, _VOTES = "models", "votes"


@dataclass(frozen=True, slots=True, kw_only=True)
class IFCA(RoundAlgorithm):
    """Choose the best of one's copies of K models, train it, and average each model over those who chose it.

    A node sends the model that it trained and which it is. Of model k it keeps the mean, by the weights of the
    mixing matrix, of its own copy and those of the neighbours that trained it: so copies of models that a node
    does not use follow what its neighbours make of them. ``rows`` are the copies chosen.

    All models begin alike. For the first rounds the nodes' choices are drawn at random once and stay, so that
    models grow apart whatever the module; the paper draws the models instead. With ``spread`` the first models
    differ by noise, too.

    Where this starts decides where it ends, so the paper tries several starts. With ``starts`` there are as many
    sets of K models, which have other draws and take turns. Nodes add up the losses of the models they choose in
    each set, and average these sums with their rows; after ``search`` rounds of each set, all go on with the
    set of least loss. Until then the set's rounds are what one start would have done.
    """

    name = "ifca"
    paper = "Ghosh et al., NeurIPS 2020"
    rule = "k_i = argmin_k ℓ_i(y_ik); a step of y_ik_i; y_ik ← weighted mean of y_ik and of x_j that are models k"
    sends = "P + models"
    preserves_mean = False

    models: Annotated[int, Parameter("K: how many models there are", ge=1)] = 2
    drawn: Annotated[int, Parameter("rounds in which choices are random, and stay", ge=0)] = 5
    spread: Annotated[
        float, Parameter("noise between the first models, in units of their root mean square", ge=0)
    ] = 0.0
    starts: Annotated[int, Parameter("sets of models that are tried", ge=1)] = 1
    search: Annotated[int, Parameter("rounds of each set before the best is kept", ge=8)] = 20

    @property
    def requirements(self) -> Requirements:
        """Rows that sum to one, of numbers that a lossy codec would turn into other models."""
        return Requirements(stochastic="rows", exact=True)

    def start(self, nodes: Nodes, *, shared_size: int, links: Links | None = None) -> Nodes:
        """Equal copies of all models, of all sets."""
        del links
        copies = nodes.rows[:, :shared_size].repeat(1, self.models * self.starts)
        votes = nodes.rows.new_zeros(len(nodes), self.starts)
        return replace(nodes, auxiliary={**nodes.auxiliary, _MODELS: copies, _VOTES: votes})

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        size, sets = context.shared_size, self.models * self.starts
        copies = nodes.auxiliary[_MODELS].view(len(nodes), sets, size)
        if context.round == 0 and self.spread:
            copies = self._spread(copies, context)
        turn = self._turn(nodes, context)
        chosen, losses = self._chosen(nodes, copies, turn, context)
        votes = self._voted(nodes.auxiliary[_VOTES], turn, losses, context)
        own = torch.arange(len(nodes), device=copies.device)
        trained = context.local.update(nodes.with_shared(copies[own, chosen], ages=nodes.ages))
        copies = copies.clone()
        copies[own, chosen] = trained.rows[:, :size]
        which = torch.nn.functional.one_hot(chosen, sets).to(copies.dtype)
        told = [trained.rows[:, :size], which, *([votes] if self.starts > 1 else [])]
        rule = partial(_means, copies=copies, votes=votes)
        mixed = yield NeighbourRows(torch.cat(told, dim=1), rule=rule)
        means, votes = mixed.rows.tensor_split([sets * size], dim=1)
        after = trained.with_shared(means.view(len(nodes), sets, size)[own, chosen], ages=trained.ages)
        return replace(after, auxiliary={**trained.auxiliary, _MODELS: means, _VOTES: votes})

    def _turn(self, nodes: Nodes, context: RoundContext) -> Tensor:
        """Which set each node uses, int64 ``[B]``: each in turn, then the one of least loss."""
        if context.round < self.search * self.starts:
            return torch.full((len(nodes),), context.round % self.starts, device=nodes.rows.device)
        return nodes.auxiliary[_VOTES].argmin(dim=1)

    def _voted(self, votes: Tensor, turn: Tensor, losses: Tensor | None, context: RoundContext) -> Tensor:
        """Sums of losses of each set, late in the search: its last eighth only averages them."""
        eighth = 8 * context.round // (self.search * self.starts)
        if self.starts == 1 or eighth not in {5, 6} or losses is None:
            return votes
        worst = torch.finfo(losses.dtype).max / 1e6  # finite, so that averages stay so
        return votes.scatter_add(1, turn[:, None], losses.clamp(max=worst)[:, None].to(votes.dtype))

    def _chosen(
        self, nodes: Nodes, copies: Tensor, turn: Tensor, context: RoundContext
    ) -> tuple[Tensor, Tensor | None]:
        """Which model of its set each node uses, int64 ``[B]``; and its loss, unless choices are drawn."""
        first = turn * self.models
        if context.round < self.drawn * self.starts:
            keys = exchange_keys(
                context.numbers.cpu(), seed=context.seed, round_number=context.round % self.starts
            )
            return first + (keys % self.models).to(copies.device), None
        own = torch.arange(len(nodes), device=copies.device).repeat_interleave(self.models)
        places = (first[:, None] + torch.arange(self.models, device=copies.device)).reshape(-1)
        rows = before_rest(copies[own, places], nodes.rows[own])
        losses = context.local.losses_of(nodes, rows, own).nan_to_num(nan=torch.inf)
        least = losses.view(len(nodes), self.models).min(dim=1)
        return first + least.indices, least.values

    def _spread(self, copies: Tensor, context: RoundContext) -> Tensor:
        """Copies of models that differ by noise, the same noise at all nodes."""
        _, count, size = copies.shape
        generator = torch.Generator().manual_seed(context.seed)
        noise = torch.randn(count, size, generator=generator, dtype=torch.float64).to(copies)
        scale = copies.square().mean(dim=2, keepdim=True).sqrt()
        return copies + self.spread * scale * noise


def _means(around: Neighbourhood, *, copies: Tensor, votes: Tensor) -> Tensor:
    """Means of each model over the node's own copy and the neighbours that trained it, and of all votes.

    Returns
    -------
    Tensor
        ``[b, K·P + votes]``, models of all sets one after another.
    """
    own = copies[around.nodes]
    count, models, size = own.shape
    which = around.rows[..., size : size + models].argmax(dim=2)
    trains = torch.nn.functional.one_hot(which, models).to(own.dtype)  # [b, neighbours, K]
    present = torch.where(around.present, around.weights, 0)[..., None]
    weights = present * trains
    theirs = torch.einsum("bnk,bnd->bkd", weights, around.rows[..., :size])
    of_own = around.own_weights[:, None, None]
    total = of_own + weights.sum(dim=1)[..., None]
    mean = (of_own * own + theirs) / total
    means = torch.where(total > 0, mean, own).reshape(count, models * size)
    kept = votes[around.nodes]
    if kept.shape[1] == 1:
        return torch.cat([means, kept], dim=1)
    told = (present * around.rows[..., size + models :]).sum(dim=1)
    return torch.cat([means, around.own_weights[:, None] * kept + told], dim=1)
