"""NoLoCo: rare averages with one random partner, and no network-wide mean.

Kolehmainen, Blagoev, Donaghy, Ersoy & Nies, "NoLoCo: No-all-reduce low communication training method for large
models", arXiv:2506.10911, 2025. From its slow weights φ a node does ``training.local_steps`` steps of AdamW, to θ.
With the means of itself and its partner of the round, and Δ = θ − φ::

    m ← μ m + η mean(Δ) + η_φ (mean(φ) − φ),  φ ← φ + m,  θ ← φ

Simulate 16 nodes, or three values of μ, or check the declaration, from the directory of this file::

    gossipfl sim run noloco.toml
    gossipfl sim sweep noloco-sweep.toml
    gossipfl algorithms check noloco:NoLoCo

and run it in peers with ``rounds.algorithm = "noloco:NoLoCo"`` and ``rounds.topology = "random-matching"``.
"""

from dataclasses import dataclass, replace
from typing import Annotated

import torch

from gossipfl.algorithms import Exchange, Links, Parameter, Round, RoundAlgorithm, RoundContext
from gossipfl.training import Nodes

VELOCITY = "outer momentum"


@dataclass(frozen=True, kw_only=True)
class NoLoCo(RoundAlgorithm):
    """Local steps, then an outer step with momentum over the means of two nodes."""

    paper = "Kolehmainen et al., arXiv 2025"
    rule = "m ← μm + η mean(Δ) + η_φ(mean(φ) − φ), φ ← φ + m, with means over a pair and Δ = θ − φ"
    sends = "2P"

    momentum: Annotated[float, Parameter("μ: how much of the outer step goes on", ge=0, lt=1)] = 0.5
    outer_rate: Annotated[float, Parameter("η: how much of the pair's mean progress is taken", gt=0)] = 0.7
    pull: Annotated[float, Parameter("η_φ: how far slow weights go to the pair's mean", ge=0, le=1)] = 0.7

    def start(self, nodes: Nodes, *, shared_size: int, links: Links | None = None) -> Nodes:
        """Initialise m = 0."""
        return replace(nodes, auxiliary={VELOCITY: torch.zeros_like(nodes.rows[:, :shared_size])})

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Train, and step to where the pair goes."""
        trained = context.local.update(nodes)
        slow = nodes.rows[:, : context.shared_size]
        progress = trained.rows[:, : context.shared_size] - slow
        mixed = yield Exchange(torch.cat([slow, progress], dim=1))
        mean_slow, mean_progress = mixed.rows.chunk(2, dim=1)
        velocity = self.momentum * nodes.auxiliary[VELOCITY]
        velocity = velocity + self.outer_rate * mean_progress + self.pull * (mean_slow - slow)
        after = trained.with_shared(slow + velocity, ages=trained.ages)
        return replace(after, auxiliary={**trained.auxiliary, VELOCITY: velocity})
