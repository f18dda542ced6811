"""Decentralised parallel stochastic gradient descent: average with the neighbours, and take a gradient step.

Lian et al., "Can decentralized algorithms outperform centralized algorithms?", NeurIPS 2017, Algorithm 1; the
orders of adaptation and combination: Chen & Sayed, "Diffusion adaptation strategies for distributed optimization
and learning over networks", IEEE Trans. Signal Processing 60(8), 2012.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from gossipfl.algorithms.base import Exchange, Round, RoundAlgorithm, RoundContext
from gossipfl.algorithms.declaration import Parameter
from gossipfl.training.nodes import Nodes

__all__ = ["DPSGD", "Order"]

Order = Literal["adapt-then-combine", "combine-then-adapt", "both-at-once"]


@dataclass(frozen=True, slots=True)
class DPSGD(RoundAlgorithm):
    """D-PSGD in its three orders.

    Writing G(X) for the stochastic gradients at X, a round is

    * adapt-then-combine: ``X ← W (X − η G(X))``;
    * combine-then-adapt: ``X ← W X − η G(W X)``;
    * both-at-once: ``X ← W X − η G(X)`` (Lian et al. 2017, Algorithm 1), whose exchange and gradient can overlap.
    """

    name = "d_psgd"
    theory = "diffusion"
    paper = "Lian et al., NeurIPS 2017; Chen & Sayed, IEEE TSP 2012"
    rule = "X ← W(X − ηG); with order, WX − ηG(WX) or WX − ηG(X)"

    order: Annotated[
        Order, Parameter("W(X − ηG(X)); WX − ηG(WX); or WX − ηG(X), in which exchange and gradient overlap")
    ] = "adapt-then-combine"

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        shared, update = context.shared_size, context.local.update
        if self.order == "combine-then-adapt":
            mixed = yield Exchange(nodes.rows[:, :shared])
            return update(nodes.with_shared(mixed.rows, ages=nodes.ages))
        trained = update(nodes)
        if self.order == "adapt-then-combine":
            mixed = yield Exchange(trained.rows[:, :shared])
            return trained.with_shared(mixed.rows, ages=trained.ages)
        mixed = yield Exchange(nodes.rows[:, :shared])
        step = trained.rows[:, :shared] - nodes.rows[:, :shared]
        return trained.with_shared(mixed.rows + step, ages=trained.ages)
