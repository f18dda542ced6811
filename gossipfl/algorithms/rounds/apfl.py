"""APFL among neighbours: a shared model by D-PSGD, and beside it an own one that never leaves.

Deng, Kamani & Mahdavi, "Adaptive personalized federated learning", 2020 (arXiv 2003.13461), whose server's
average is here that of the neighbours (Lian et al., NeurIPS 2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch

from gossipfl.algorithms.base import Exchange, Links, Round, RoundAlgorithm, RoundContext
from gossipfl.algorithms.declaration import Parameter
from gossipfl.algorithms.interpolation import interpolated, trained_beside, with_own_models
from gossipfl.training.nodes import Nodes

__all__ = ["APFL"]


@dataclass(frozen=True, slots=True, kw_only=True)
class APFL(RoundAlgorithm):
    """``W ← W (W − η G(W))`` for the shared models; the personal ones are ``v̄ = αv + (1 − α)w``.

    Personal models are used and evaluated, and mixed anew after each local step and each exchange. With α = 0 that
    stays, they are the shared ones of D-PSGD; with α = 1 that stays, each node's is trained alone.
    """

    name = "apfl"
    paper = "Deng, Kamani & Mahdavi, arXiv 2020"
    rule = "w as in d_psgd; v ← v − ηα∇f(v̄), α ← α − η⟨v − w, ∇f(v̄)⟩; the model is v̄ = αv + (1 − α)w"

    share: Annotated[
        float, Parameter("α at first: share of the own model in the personal one", ge=0, le=1)
    ] = 0.5
    adapts: Annotated[bool, Parameter("whether α is learned, or stays")] = False

    def start(self, nodes: Nodes, *, shared_size: int, links: Links | None = None) -> Nodes:
        """Own models that are the shared ones so far."""
        del shared_size, links
        return with_own_models(nodes, share=self.share)

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        once = partial(context.local.update, steps=torch.ones_like(nodes.steps))
        for _ in range(context.local.settings.local_steps):
            nodes = trained_beside(nodes, once, shared_size=context.shared_size, adapts=self.adapts)
        mixed = yield Exchange(nodes.rows[:, : context.shared_size])
        return interpolated(nodes.with_shared(mixed.rows, ages=nodes.ages), shared_size=context.shared_size)
