"""Exact diffusion: diffusion without its bias from heterogeneous data.

Yuan, Ying, Zhao & Sayed, "Exact diffusion for distributed optimization and learning, Part I: Algorithm
development", IEEE Trans. Signal Processing 67(3), 2019.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gossipfl.algorithms.base import Exchange, Round, RoundContext
from gossipfl.algorithms.rounds.bias_correction import BiasCorrected, adapt_and_correct
from gossipfl.training.nodes import Nodes

__all__ = ["ExactDiffusion"]


@dataclass(frozen=True, slots=True)
class ExactDiffusion(BiasCorrected):
    """Adapt, correct, combine.

    With W̄ = (W + I)/2 and ψ⁻¹ = x⁰, a round is

    ``ψ ← X − η G(X)``, ``φ ← ψ + X − ψ⁻``, ``X ← W̄ φ``,

    ψ⁻ being ψ of the round before. It can rest where all models minimise the mean of the losses, although no
    single gradient is zero there; D-PSGD can not. The mean of the models moves by η times the mean gradient, and a
    round sends what D-PSGD sends.

    Notes ----- The adaptation is the node's training: with ``training.local_steps`` or momentum, ψ is the model
    after these. A decreasing step size stays with the gradient it was taken with, so that the mean moves as
    stated.
    """

    name = "exact_diffusion"
    paper = "Yuan et al., IEEE TSP 2019"
    rule = "ψ ← X − ηG, X ← ½(W + I)(ψ + X − ψ⁻)"

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        trained, corrected = adapt_and_correct(nodes, context)
        mixed = yield Exchange(corrected)
        return trained.with_shared(torch.lerp(mixed.sent, mixed.rows, 0.5), ages=trained.ages)
