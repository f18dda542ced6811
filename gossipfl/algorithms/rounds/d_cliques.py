"""D-Cliques: gradients are averaged within cliques that together see all classes, models with all neighbours.

Bellet, Kermarrec & Lavoie, "D-Cliques: Compensating for data heterogeneity with topology in decentralized
federated learning", SRDS 2022 (D-SGD with clique averaging, and with momentum).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gossipfl.algorithms.base import Exchange, Requirements, Round, RoundAlgorithm, RoundContext
from gossipfl.training.descent import step_along
from gossipfl.training.nodes import Nodes
from gossipfl.training.optimisers import optimiser_of

__all__ = ["DCliques"]


@dataclass(frozen=True, slots=True)
class DCliques(RoundAlgorithm):
    """D-SGD with clique averaging.

    With C(i) the clique of node i, and m = ``training.momentum``,

    ``g_i ← mean of ∇f_j(x_j) over j in C(i)``, ``v_i ← m v_i + g_i``, ``x_i ← Σ_j w_ij (x_j − η v_j)``.

    A clique has samples of all classes where a node has not, so its mean gradient, and with it the momentum, is
    hardly biased. With several ``training.local_steps``, that many such steps are done before models
    are mixed.
    """

    name = "d_cliques"
    paper = "Bellet et al., SRDS 2022"
    rule = "a step with gradients (and thus momentum) averaged within the clique, then X ← WX"
    sends = "P, and P to each other member of the clique"

    @property
    def requirements(self) -> Requirements:
        """Doubly stochastic matrices, and cliques."""
        return Requirements(cliques=True)

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        shared, local = context.shared_size, context.local
        for _ in range(local.settings.local_steps):
            rates = local.learning_rates(nodes)
            nodes, gradients = local.gradient(nodes)
            averaged = yield Exchange(gradients[:, :shared], over="clique")
            gradients = torch.cat([averaged.rows, gradients[:, shared:]], dim=1)
            nodes = step_along(nodes, gradients, rates=rates, optimiser=optimiser_of(local.settings))
        mixed = yield Exchange(nodes.rows[:, :shared])
        return nodes.with_shared(mixed.rows, ages=nodes.ages)
