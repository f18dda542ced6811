"""Decentralised federated averaging: local epochs of (momentum) SGD, then an average with the neighbours.

Sun, Li & Wang, "Decentralized federated averaging", IEEE Trans. Pattern Analysis and Machine Intelligence 45(4),
2023 (DFedAvg, and DFedAvgM with momentum).
"""

from __future__ import annotations

from dataclasses import dataclass

from gossipfl.algorithms.base import Exchange, Links, Requirements, Round, RoundContext
from gossipfl.algorithms.rounds.local_epochs import check_epochs, train_epochs
from gossipfl.training.nodes import Nodes

__all__ = ["DFedAvg"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DFedAvg:
    """DFedAvg, and DFedAvgM where training has momentum.

    A round starts at y⁰ = y⁻¹ = x, does K local steps

    ``yᵏ⁺¹ = yᵏ − η g(yᵏ) + θ (yᵏ − yᵏ⁻¹)``

    on the node's own samples, θ being ``training.momentum``, and averages: ``x_i ← Σ_j w_ij y_jᴷ``. The heavy ball
    is local: it starts at rest every round and is never sent.

    Parameters
    ----------
    epochs : int or None
        K is as many steps as so many passes over a node's own samples need; nodes with more samples do more. None:
        K is ``training.local_steps``, as in the paper.

    Notes
    -----
    The step size of each node falls with the steps that node itself has done.

    Raises
    ------
    SettingError
        If there is less than one epoch.
    """

    epochs: int | None = 1

    def __post_init__(self) -> None:
        check_epochs(self.epochs)

    @property
    def requirements(self) -> Requirements:
        """Doubly stochastic matrices."""
        return Requirements(epochs=self.epochs is not None)

    def start(self, nodes: Nodes, *, shared_size: int, links: Links | None = None) -> Nodes:
        """Nothing is kept beside the models."""
        return nodes

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        trained = train_epochs(nodes, context.local, epochs=self.epochs)
        mixed = yield Exchange(trained.rows[:, : context.shared_size])
        return trained.with_shared(mixed.rows, ages=trained.ages)
