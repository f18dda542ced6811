"""Stochastic gradient push: gradient steps on numerators of push-sum, whose ratios are the models.

Assran, Loizou, Ballas & Rabbat, "Stochastic gradient push for distributed deep learning", ICML 2019, Algorithm 1;
push-sum: Kempe, Dobra & Gehrke, "Gossip-based computation of aggregate information", FOCS 2003.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from gossipfl.algorithms.base import Exchange, Links, Requirements, Round, RoundAlgorithm, RoundContext
from gossipfl.training.nodes import Nodes

__all__ = ["PUSH_SUM_WEIGHTS", "StochasticGradientPush"]

PUSH_SUM_WEIGHTS = "push_sum_weights"
"""Key in `Nodes.auxiliary` of the weights w, shape ``[B, 1]``, of the rows' dtype."""


@dataclass(frozen=True, slots=True)
class StochasticGradientPush(RoundAlgorithm):
    """SGP: D-PSGD for directed links.

    With P column-stochastic, G the stochastic gradients and w = 1 at first,

    ``X ← P (X − η G(Z))``, ``w ← P w``, ``Z = X / w``.

    The rows between rounds are the de-biased models Z; X is Z · w. Mixing leaves Σ_i x_i and Σ_i w_i as they are,
    whatever the graph, so Z goes to the mean of the models even where P is not row-stochastic. Where it is,
    w stays 1 and SGP is D-PSGD, adapt-then-combine.
    """

    name = "sgp"
    also_called = ("stochastic_gradient_push",)
    paper = "Assran et al., ICML 2019"
    rule = "X ← P(X − ηG(Z)), w ← Pw, Z = X/w with column-stochastic P"
    sends = "P + 1"

    @property
    def requirements(self) -> Requirements:
        """Matrices whose columns sum to one: each node knows its recipients, not its senders."""
        return Requirements(stochastic="columns", exact=True)

    def start(self, nodes: Nodes, *, shared_size: int, links: Links | None = None) -> Nodes:
        """Give every node the weight one."""
        weights = nodes.rows.new_ones(len(nodes), 1)
        return replace(nodes, auxiliary={**nodes.auxiliary, PUSH_SUM_WEIGHTS: weights})

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        shared, weights = context.shared_size, nodes.auxiliary[PUSH_SUM_WEIGHTS]
        trained = context.local.update(nodes)
        # w z + (z⁺ − z), which for w = 1 is z⁺ to the last bit
        numerators = trained.rows[:, :shared] + (weights - 1) * nodes.rows[:, :shared]
        mixed = yield Exchange(torch.cat([numerators, weights], dim=1))
        weights = mixed.rows[:, shared:]
        after = trained.with_shared(mixed.rows[:, :shared] / weights, ages=trained.ages)
        return replace(after, auxiliary={**after.auxiliary, PUSH_SUM_WEIGHTS: weights})
