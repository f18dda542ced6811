"""Bias correction of exact diffusion and D²: adaptation minus the change by the last combination."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from gossipfl.algorithms.base import Links, Requirements, RoundAlgorithm, RoundContext
from gossipfl.training.nodes import Nodes

__all__ = ["ADAPTED", "BiasCorrected", "adapt_and_correct"]

ADAPTED = "adapted"
"""Key in `Nodes.auxiliary` of ψ, the shared parameters after the last adaptation, ``[B, shared_size]``."""


class BiasCorrected(RoundAlgorithm):
    """Adaptation, and the correction of what the last combination changed."""

    @property
    def requirements(self) -> Requirements:
        """One symmetric doubly stochastic matrix for all rounds."""
        return Requirements(symmetric=True, static=True)

    def start(self, nodes: Nodes, *, shared_size: int, links: Links | None = None) -> Nodes:
        """Initialise ψ⁻¹ = x⁰: the first round is not corrected."""
        return replace(nodes, auxiliary={**nodes.auxiliary, ADAPTED: nodes.rows[:, :shared_size].clone()})


def adapt_and_correct(nodes: Nodes, context: RoundContext) -> tuple[Nodes, Tensor]:
    """Train, and undo the pull of the last combination: ``ψ ← x − η G(x)``, ``φ ← ψ + x − ψ⁻``.

    Parameters
    ----------
    nodes : Nodes
        B nodes with ψ⁻ of the round before.
    context : RoundContext

    Returns
    -------
    nodes : Nodes
        Trained, with ψ.
    corrected : Tensor
        φ, shape ``[B, shared_size]``. Its mean over all nodes is that of ψ: corrections cancel.
    """
    shared = context.shared_size
    trained = context.local.update(nodes)
    adapted = trained.rows[:, :shared]
    corrected = adapted + (nodes.rows[:, :shared] - nodes.auxiliary[ADAPTED])
    return replace(trained, auxiliary={**trained.auxiliary, ADAPTED: adapted}), corrected
