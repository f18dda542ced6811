"""D²: decentralised training that is robust to differences between the nodes' data.

Tang, Lian, Yan, Zhang & Liu, "D²: Decentralized training over decentralized data", ICML 2018.
"""

from __future__ import annotations

from dataclasses import dataclass

from gossipfl.algorithms.base import Exchange, Round, RoundContext
from gossipfl.algorithms.rounds.bias_correction import BiasCorrected, adapt_and_correct
from gossipfl.training.nodes import Nodes

__all__ = ["DSquared"]


@dataclass(frozen=True, slots=True)
class DSquared(BiasCorrected):
    """Exact diffusion with W itself.

    ``X¹ = W (X⁰ − η G⁰)``, and from then on ``X ← W (2X − X⁻ − η G(X) + η⁻ G⁻)``, where ⁻ marks the previous
    round. Computed as ``ψ ← X − η G(X)``, ``X ← W (ψ + X − ψ⁻)``, which is the same.

    Notes
    -----
    It needs eigenvalues of W above −1/3: with Metropolis–Hastings weights and small step sizes it diverges on most
    tori, and on hypercubes of 8 nodes and more. `ExactDiffusion` has no such condition. As there, local steps and
    momentum of the training are part of the adaptation.
    """

    name = "d_squared"
    paper = "Tang et al., ICML 2018"
    rule = "ψ ← X − ηG, X ← W(ψ + X − ψ⁻), eigenvalues of W above −1/3"

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        trained, corrected = adapt_and_correct(nodes, context)
        mixed = yield Exchange(corrected)
        return trained.with_shared(mixed.rows, ages=trained.ages)
