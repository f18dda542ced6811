"""RelaySGD: along a tree, every model reaches every node once, delayed but with exactly equal weight.

Vogels, He, Koloskova, Lin, Karimireddy, Stich & Jaggi, "RelaySum for decentralized deep learning on heterogeneous
data", NeurIPS 2021.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gossipfl.algorithms.base import LinkExchange, Links, Requirements, Round, RoundAlgorithm, RoundContext
from gossipfl.errors import SettingError
from gossipfl.training.nodes import Nodes

__all__ = ["RELAYED", "RelaySGD"]

RELAYED = "relayed"
"""Key in `Nodes.auxiliary` of the last message over each link end, ``[L, shared_size + 1]``: sum, count."""


@dataclass(frozen=True, slots=True)
class RelaySGD(RoundAlgorithm):
    """RelaySGD, with the counts of its messages.

    A round trains, ``y_i = x_i − η g_i(x_i)``, and sends over each link what came last over all the others:

    ``m_{i→j} ← y_i + Σ_{k ≠ j} m_{k→i}``, ``c_{i→j} ← 1 + Σ_{k ≠ j} c_{k→i}``;

    ``x_i ← (y_i + Σ_j m_{j→i}) / (1 + Σ_j c_{j→i})``.

    From as many rounds on as the tree's diameter, the count is the number of nodes and x_i is the uniform mean of
    all y_j, each as it was (distance of i and j) − 1 rounds ago. Models that have not arrived, in the first rounds
    or because a message was lost (zeros then stand for it), are left out of the mean.
    """

    name = "relay_sgd"
    paper = "Vogels et al., NeurIPS 2021"
    rule = "m_ij ← y_i + Σ_{k≠j} m_ki, with counts alike; x_i ← mean of all known models, where y = x − ηg"
    sends = "P + 1, another message over each link"
    preserves_mean = False  # from round to round: only what has arrived counts

    @property
    def requirements(self) -> Requirements:
        """A tree that stays."""
        return Requirements(static=True, tree=True, links=True, exact=True, own_weights=True)

    def start(self, nodes: Nodes, *, shared_size: int, links: Links | None = None) -> Nodes:
        """Nothing has come over any link."""
        relayed = nodes.rows.new_zeros(len(_required(links).owner), shared_size + 1)
        return replace(nodes, auxiliary={**nodes.auxiliary, RELAYED: relayed})

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        shared, owner = context.shared_size, _required(context.links).owner
        trained = context.local.update(nodes)
        own = torch.cat([trained.rows[:, :shared], trained.rows.new_ones(len(nodes), 1)], dim=1)
        before = nodes.auxiliary[RELAYED]
        answers = yield LinkExchange(_with_arrivals(own, before, owner)[owner] - before)
        known = _with_arrivals(own, answers.rows, owner)
        after = trained.with_shared(known[:, :shared] / known[:, shared:], ages=trained.ages)
        return replace(after, auxiliary={**after.auxiliary, RELAYED: answers.rows})


def _with_arrivals(own: Tensor, arrived: Tensor, owner: Tensor) -> Tensor:
    return own.index_add(0, owner, arrived)


def _required(links: Links | None) -> Links:
    if links is None:
        raise SettingError("RelaySGD sends another message over each link", expected="links", got="none")
    return links
