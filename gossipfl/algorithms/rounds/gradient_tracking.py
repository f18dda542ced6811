"""Gradient tracking: besides its model, every node keeps an estimate of the mean gradient, and gossips both.

Combine-then-adapt is DIGing (Nedić, Olshevsky & Shi, "Achieving geometric convergence for distributed optimization
over time-varying graphs", SIAM J. Optimization 27(4), 2017); adapt-then-combine with stochastic gradients is
GT-DSGD (Xin, Khan & Kar, "An improved convergence analysis for decentralized online stochastic non-convex
optimization", IEEE Trans. Signal Processing 69, 2021).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from torch import Tensor

from gossipfl.algorithms.base import Exchange, Links, Requirements, Round, RoundAlgorithm, RoundContext
from gossipfl.algorithms.declaration import Parameter
from gossipfl.training.descent import step_along
from gossipfl.training.nodes import Nodes, before_rest

__all__ = ["LAST_GRADIENT", "TRACKER", "GradientTracking", "TrackingOrder"]

TrackingOrder = Literal["adapt-then-combine", "semi-adapt-then-combine", "combine-then-adapt"]

TRACKER, LAST_GRADIENT = "tracker", "last_gradient"
"""Keys in `Nodes.auxiliary` of Y and of the gradients of the last round, both ``[B, shared_size]``."""


@dataclass(frozen=True, slots=True)
class GradientTracking(RoundAlgorithm):
    """Gradient tracking in its three orders.

    Writing G for the gradients at X and G⁻ for those of the round before, Y and G⁻ being zero at first, a round is

    * adapt-then-combine: ``Y ← W (Y + G − G⁻)``, ``X ← W (X − η Y)``: two exchanges, one after the other;
    * semi-adapt-then-combine: ``Y ← W Y + G − G⁻``, ``X ← W (X − η Y)``: one exchange of models and trackers;
    * combine-then-adapt (DIGing): ``Y ← W Y + G − G⁻``, ``X ← W X − η Y``: one exchange of both.

    Each sends twice the numbers of a model over each link. The mean of Y is that of G, so the mean of the models
    moves by η times the mean gradient; where W = J, the first two are pooled gradient descent. Matrices may change
    from round to round and need not be symmetric.
    """

    name = "gradient_tracking"
    paper = "Nedić et al., SIAM J. Optim. 2017; Xin et al., IEEE TSP 2021"
    rule = "Y ← W(Y + G − G⁻), X ← W(X − ηY); with order, semi-ATC or DIGing"
    sends = "2P"

    order: Annotated[
        TrackingOrder,
        Parameter(
            "trackers and models are adapted before they are combined, or only models (semi-), or none"
        ),
    ] = "adapt-then-combine"

    @property
    def requirements(self) -> Requirements:
        """Doubly stochastic matrices, and training of one step without momentum."""
        return Requirements(own_steps=True)

    def start(self, nodes: Nodes, *, shared_size: int, links: Links | None = None) -> Nodes:
        """Nothing has been tracked."""
        nothing = torch.zeros_like(nodes.rows[:, :shared_size])
        return replace(nodes, auxiliary={**nodes.auxiliary, TRACKER: nothing, LAST_GRADIENT: nothing})

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        shared, before, tracker = context.shared_size, nodes.rows, nodes.auxiliary[TRACKER]
        rates = context.local.learning_rates(nodes)
        seen, gradients = context.local.gradient(nodes)
        change = gradients[:, :shared] - nodes.auxiliary[LAST_GRADIENT]
        if self.order == "combine-then-adapt":
            models, tracker = _halves((yield Exchange(torch.cat([before[:, :shared], tracker], dim=1))).rows)
            tracker = tracker + change
            after = _stepped(seen.with_shared(models, ages=seen.ages), tracker, gradients, rates)
        elif self.order == "semi-adapt-then-combine":
            after = _stepped(seen, tracker + change, gradients, rates)
            sent = torch.cat([after.rows[:, :shared], tracker + change], dim=1)
            models, tracker = _halves((yield Exchange(sent)).rows)
            after = after.with_shared(models, ages=after.ages)
        else:
            tracker = (yield Exchange(tracker + change)).rows
            after = _stepped(seen, tracker, gradients, rates)
            mixed = yield Exchange(after.rows[:, :shared])
            after = after.with_shared(mixed.rows, ages=after.ages)
        kept = {TRACKER: tracker, LAST_GRADIENT: gradients[:, :shared]}
        return replace(after, auxiliary={**after.auxiliary, **kept})


def _stepped(nodes: Nodes, tracker: Tensor, gradients: Tensor, rates: Tensor) -> Nodes:
    """Shared parameters go against the tracked gradient, those that stay local against the node's own."""
    return step_along(nodes, before_rest(tracker, gradients), rates=rates)


def _halves(rows: Tensor) -> tuple[Tensor, Tensor]:
    first, second = rows.chunk(2, dim=1)
    return first, second
