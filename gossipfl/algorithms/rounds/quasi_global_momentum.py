"""Quasi-global momentum: momentum along the path of the mixed models, not along local gradients.

Lin, Karimireddy, Stich & Jaggi, "Quasi-global momentum: Accelerating decentralized deep learning on heterogeneous
data", ICML 2021, Algorithm 1 (QG-DSGDm, and QG-DSGDm-N with Nesterov's momentum).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import torch

from gossipfl.algorithms.base import Exchange, Links, Requirements, Round, RoundAlgorithm, RoundContext
from gossipfl.algorithms.declaration import Parameter
from gossipfl.training.descent import step_along
from gossipfl.training.nodes import Nodes, before_rest

__all__ = ["PATH", "QGDSGDm"]

PATH = "path"
"""Key in `Nodes.auxiliary` of m̂, the mean direction of a path, ``[B, D]``; zero where nothing is trained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QGDSGDm(RoundAlgorithm):
    """QG-DSGDm.

    With m̂ = 0 at first, a round is

    * ``m_i ← β m̂_i + g_i``, ``x_i ← Σ_j w_ij (x_j − η m_j)``;
    * ``m̂_i ← μ m̂_i + (1 − μ) (x_i⁻ − x_i)/η``, x_i⁻ being x_i before the round.

    With ``nesterov`` the step goes along ``g_i + β m_i`` instead of ``m_i``. Nothing but models is sent. What
    stays local takes part with its own path. Where W = J it is quasi-hyperbolic momentum on pooled gradients (Ma &
    Yarats, "Quasi-hyperbolic momentum and Adam for deep learning", ICLR 2019); with β = 0 it is D-PSGD.

    Where the step size has fallen to zero, a path says nothing about gradients, and m̂ only decays.
    """

    name = "qg_dsgdm"
    also_called = ("quasi_global_momentum",)
    paper = "Lin et al., ICML 2021"
    rule = "m ← βm̂ + g, X ← W(X − ηm), m̂ ← μm̂ + (1 − μ)(X⁻ − X)/η"

    momentum: Annotated[float, Parameter("β", ge=0, lt=1)] = 0.9
    smoothing: Annotated[float | None, Parameter("μ; equal to momentum if unset", ge=0, lt=1)] = None
    nesterov: Annotated[bool, Parameter("QG-DSGDm-N")] = False

    @property
    def requirements(self) -> Requirements:
        """Doubly stochastic matrices, and training of one step without momentum of its own."""
        return Requirements(own_steps=True)

    def start(self, nodes: Nodes, *, shared_size: int, links: Links | None = None) -> Nodes:
        """Initialise m̂ = 0."""
        return replace(nodes, auxiliary={**nodes.auxiliary, PATH: torch.zeros_like(nodes.rows)})

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        path, rates = nodes.auxiliary[PATH], context.local.learning_rates(nodes)
        seen, gradients = context.local.gradient(nodes)
        width = gradients.shape[1]
        directions = gradients.add(path[:, :width], alpha=self.momentum)
        if self.nesterov:
            directions = gradients.add(directions, alpha=self.momentum)
        stepped = step_along(seen, directions, rates=rates)
        mixed = yield Exchange(stepped.rows[:, : context.shared_size])
        after = stepped.with_shared(mixed.rows, ages=stepped.ages)
        moved = nodes.rows[:, :width] - after.rows[:, :width]
        moved.mul_(torch.where(rates > 0, 1 / rates, 0))
        smoothing = self.momentum if self.smoothing is None else self.smoothing
        path = before_rest(moved.lerp_(path[:, :width], smoothing), path)
        return replace(after, auxiliary={**after.auxiliary, PATH: path})
