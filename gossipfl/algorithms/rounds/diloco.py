"""DiLoCo: many local steps, and then one outer step with Nesterov's momentum along the mean progress.

Douillard et al., "DiLoCo: Distributed low-communication training of language models", arXiv 2311.08105, 2023,
Algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch

from gossipfl.algorithms.base import Exchange, Links, Requirements, Round, RoundAlgorithm, RoundContext
from gossipfl.algorithms.declaration import Parameter
from gossipfl.algorithms.rounds.server import of_one_model
from gossipfl.algorithms.rounds.step_weights import STEP_WEIGHTING, StepWeighting, mixed_by_steps
from gossipfl.training.nodes import Nodes

__all__ = ["VELOCITY", "DiLoCo"]

VELOCITY = "outer momentum"
"""Key in `Nodes.auxiliary` of the outer momentum, ``[B, shared_size]``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiLoCo(RoundAlgorithm):
    """DiLoCo, and the same with means over neighbours.

    From its slow weights φ_i a node does H = ``training.local_steps`` steps of the inner optimiser, to θ_i. Then

    * ``Δ_i = φ_i − Σ_j w_ij θ_j``, ``m_i ← β m_i + Δ_i``;
    * ``φ_i ← φ_i − η (Δ_i + β m_i)``.

    Where all begin alike and W = J it is the paper's algorithm: ``Δ = mean(θ − θ_i)``. Slow weights that differ,
    as after an absence, come together, because each Δ_i is taken from a node's own. The state of the inner
    optimiser stays where it is. With β = 0 and η = 1 it is D-PSGD (adapt-then-combine) with H local steps.

    With ``average = "all-reduce"`` the mean is over all nodes and outside any topology: each sends and receives P
    numbers, as a ring all-reduce does in two passes; this yardstick is only simulated.

    Where nodes differ in speed and so in the steps of a round, ``weighting = "steps"`` has each count as much as
    it has trained: ``Σ_j w_ij s_j θ_j / Σ_j w_ij s_j`` with s_j steps takes the place of the mean.
    """

    name = "diloco"
    paper = "Douillard et al., arXiv 2023"
    rule = "Δ = φ − Wθ after H local steps from φ to θ, m ← βm + Δ, φ ← φ − η(Δ + βm)"

    momentum: Annotated[float, Parameter("β: Nesterov's momentum of the outer step", ge=0, lt=1)] = 0.9
    outer_rate: Annotated[float, Parameter("η: how much of the mean progress is taken", gt=0)] = 0.7
    average: Annotated[
        Literal["neighbours", "all-reduce"], Parameter("over the topology; or over all nodes, in simulations")
    ] = "neighbours"

    weighting: Annotated[StepWeighting, Parameter(STEP_WEIGHTING)] = "nodes"

    @property
    def requirements(self) -> Requirements:
        """Doubly stochastic matrices; or somebody who averages for all."""
        everybody = self.average == "all-reduce"
        return Requirements(server=everybody, own_weights=everybody, exact=self.weighting == "steps")

    def start(self, nodes: Nodes, *, shared_size: int, links: Links | None = None) -> Nodes:
        """Initialise m = 0; everyone has the first node's model where all average."""
        if self.average == "all-reduce":
            nodes = of_one_model(nodes, shared_size=shared_size)
        zeros = torch.zeros_like(nodes.rows[:, :shared_size])
        return replace(nodes, auxiliary={**nodes.auxiliary, VELOCITY: zeros})

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        slow = nodes.rows[:, : context.shared_size]
        trained = context.local.update(nodes)
        fast = trained.rows[:, : context.shared_size]
        over: Literal["neighbours", "server"] = "server" if self.average == "all-reduce" else "neighbours"
        if self.weighting == "steps":
            mean = yield from mixed_by_steps(fast, trained.steps - nodes.steps, over=over)
        else:
            mixed = yield Exchange(fast, over=over)
            mean = mixed.rows
        difference = slow - mean
        velocity = self.momentum * nodes.auxiliary[VELOCITY] + difference
        stepped = slow - self.outer_rate * (difference + self.momentum * velocity)
        after = trained.with_shared(stepped, ages=trained.ages)
        return replace(after, auxiliary={**trained.auxiliary, VELOCITY: velocity})
