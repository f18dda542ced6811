"""Decentralised federated averaging: local epochs of (momentum) SGD, then an average with the neighbours.

Sun, Li & Wang, "Decentralized federated averaging", IEEE Trans. Pattern Analysis and Machine Intelligence 45(4),
2023 (DFedAvg, and DFedAvgM with momentum).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from gossipfl.algorithms.base import Exchange, Requirements, Round, RoundAlgorithm, RoundContext
from gossipfl.algorithms.declaration import Parameter
from gossipfl.algorithms.rounds.local_epochs import EPOCHS, train_epochs
from gossipfl.training.nodes import Nodes

__all__ = ["DFedAvg"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DFedAvg(RoundAlgorithm):
    """DFedAvg, and DFedAvgM where training has momentum.

    A round starts at y⁰ = y⁻¹ = x, does K local steps

    ``yᵏ⁺¹ = yᵏ − η g(yᵏ) + θ (yᵏ − yᵏ⁻¹)``

    on the node's own samples, θ being ``training.momentum``, and averages: ``x_i ← Σ_j w_ij y_jᴷ``. The heavy ball
    is local: it starts at rest every round and is never sent.

    With ``epochs``, nodes with more samples do more steps; in the paper K is ``training.local_steps`` (``epochs``
    0). Each node's step size falls with its own steps.
    """

    name = "dfedavg"
    paper = "Sun, Li & Wang, IEEE TPAMI 2023"
    rule = "local epochs of SGD, with momentum starting from zero each round (DFedAvgM); then X ← WX"

    epochs: Annotated[int, Parameter(EPOCHS, ge=0)] = 1

    @property
    def requirements(self) -> Requirements:
        """Doubly stochastic matrices."""
        return Requirements(epochs=self.epochs > 0)

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        trained = train_epochs(nodes, context.local, epochs=self.epochs)
        mixed = yield Exchange(trained.rows[:, : context.shared_size])
        return trained.with_shared(mixed.rows, ages=trained.ages)
