"""Pooled SGD: one model and all nodes' gradients, the baseline that no mixing can beat.

Parallel mini-batch stochastic gradient descent: Dekel, Gilad-Bachrach, Shamir & Xiao, "Optimal distributed online
prediction using mini-batches", J. Machine Learning Research 13, 2012.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch

from gossipfl.algorithms.base import Links, Requirements, Round, RoundAlgorithm, RoundContext
from gossipfl.algorithms.declaration import Parameter
from gossipfl.algorithms.rounds.server import (
    WEIGHTING,
    Weighting,
    of_one_model,
    server_mean,
    to_server,
    weights_of,
)
from gossipfl.training.descent import step_along
from gossipfl.training.nodes import Nodes
from gossipfl.training.optimisers import optimiser_of

__all__ = ["PooledSGD"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledSGD(RoundAlgorithm):
    """A single model x, which all nodes report: ``v ← m v + Σ_i p_i ∇f_i(x)``, ``x ← x − η v``.

    Each node draws the batch that it would draw in gossip, and m is ``training.momentum``. With p_i = 1/n this is
    what D-PSGD does over W = J, to rounding. A round is ``training.local_steps`` such steps: as many gradients as
    gossip takes in a round.

    Equal p_i give gossip's objective, the mean of the nodes' losses; p_i by samples gives the mean loss of all
    samples.
    """

    name = "pooled_sgd"
    paper = "Dekel et al., JMLR 2012"
    rule = "v ← βv + Σ_i p_i g_i, x ← x − ηv: one model, with every node’s own batch"
    sends = "P + 1 up and down for every node and step"

    weighting: Annotated[Weighting, Parameter(WEIGHTING)] = "nodes"

    @property
    def requirements(self) -> Requirements:
        """A server."""
        return Requirements(server=True, exact=True, own_weights=True)

    def start(self, nodes: Nodes, *, shared_size: int, links: Links | None = None) -> Nodes:
        """Everyone has the first node's model."""
        return of_one_model(nodes, shared_size=shared_size)

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        shared, local = context.shared_size, context.local
        for _ in range(local.settings.local_steps):
            rates = local.learning_rates(nodes)
            nodes, gradients = local.gradient(nodes)
            weights = weights_of(local, self.weighting, like=gradients)
            answer = yield to_server(gradients[:, :shared], weights)
            pooled = torch.cat([server_mean(answer), gradients[:, shared:]], dim=1)
            nodes = step_along(nodes, pooled, rates=rates, optimiser=optimiser_of(local.settings))
        return nodes
