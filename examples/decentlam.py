"""DecentLaM (Yuan et al., "DecentLaM: decentralized momentum SGD for large-batch deep training", ICCV 2021)."""

from dataclasses import dataclass, replace
from typing import Annotated

import torch

from gossipfl.algorithms import Exchange, Links, Parameter, Requirements, Round, RoundAlgorithm, RoundContext
from gossipfl.training import Nodes

MOMENTUM = "momentum"


@dataclass(frozen=True, kw_only=True)
class DecentLaM(RoundAlgorithm):
    """Momentum over the step that mixing makes, so that it adds no bias where data differ."""

    paper = "Yuan et al., ICCV 2021"
    rule = "g̃ = (X − W(X − ηG))/η, M ← βM + g̃, X ← X − ηM"
    sends = "P"
    requirements = Requirements(symmetric=True, own_steps=True)

    momentum: Annotated[float, Parameter("β: how much of the last step goes on", ge=0, lt=1)] = 0.9

    def start(self, nodes: Nodes, *, shared_size: int, links: Links | None = None) -> Nodes:
        """Initialise M = 0."""
        return replace(nodes, auxiliary={MOMENTUM: torch.zeros_like(nodes.rows[:, :shared_size])})

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """One gradient, one exchange, one step."""
        size, rate = context.shared_size, context.local.learning_rates(nodes)
        after, gradients = context.local.gradient(nodes)
        own = nodes.rows[:, :size]
        mixed = yield Exchange(own - rate * gradients[:, :size])
        step = (own - mixed.rows) / rate
        momentum = self.momentum * nodes.auxiliary[MOMENTUM] + step
        after = after.with_shared(own - rate * momentum, ages=after.ages)
        return replace(after, auxiliary={**nodes.auxiliary, MOMENTUM: momentum})
