"""GASLoC: gossip of what many local steps lead to, and outer momentum along a node's own path.

Cagnasso, Belilovsky & Oyallon, "Unifying local communications and local updates for LLM pretraining", arXiv
2606.11081, 2026.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import torch

from gossipfl.algorithms.base import Exchange, Links, Round, RoundAlgorithm, RoundContext
from gossipfl.algorithms.declaration import Parameter
from gossipfl.training.nodes import Nodes

__all__ = ["GASLoC"]

_EARLIER = "earlier outer step"
"""Key in `Nodes.auxiliary` of y of the round before, ``[B, shared_size]``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GASLoC(RoundAlgorithm):
    """GASLoC.

    With g_i what H = ``training.local_steps`` steps of the inner optimiser add to x_i, y_i⁻ = x_i at first, and
    W = I − Λ the mixing matrix,

    * ``y_i = x_i + η g_i``;
    * ``x_i ← y_i − α Σ_j Λ_ij y_j + γ (y_i − y_i⁻)``.

    The mean of all models follows DiLoCo's recursion on the mean of all g, whatever W; where W = J, α = 1 and all
    begin alike, and gradients are linear, it is DiLoCo in the mean. With γ = 0, η = 1, α = 1 it is D-PSGD
    (adapt-then-combine) with H local steps.

    Only y is sent, and momentum is along a node's own path, not along differences to others: without training, its
    models disagree as NoLoCo's do with η_φ = α and μ = γ.
    """

    name = "gasloc"
    paper = "Cagnasso, Belilovsky & Oyallon, arXiv 2026"
    rule = "y = x + ηg after H local steps, x ← y − αΛy + γ(y − y⁻), where Λ = I − W"

    momentum: Annotated[float, Parameter("γ: outer momentum", ge=0, lt=1)] = 0.5
    outer_rate: Annotated[float, Parameter("η: how much of a node's own progress is taken", gt=0)] = 0.7
    consensus_step_size: Annotated[
        float, Parameter("α: how far a node moves towards its neighbours", gt=0, le=1)
    ] = 1.0

    def start(self, nodes: Nodes, *, shared_size: int, links: Links | None = None) -> Nodes:
        """The path begins at the model."""
        return replace(nodes, auxiliary={**nodes.auxiliary, _EARLIER: nodes.rows[:, :shared_size].clone()})

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        before = nodes.rows[:, : context.shared_size]
        trained = context.local.update(nodes)
        ahead = torch.lerp(before, trained.rows[:, : context.shared_size], self.outer_rate)
        mixed = yield Exchange(ahead)
        moved = torch.lerp(ahead, mixed.rows, self.consensus_step_size)
        after = moved + self.momentum * (ahead - nodes.auxiliary[_EARLIER])
        nodes = trained.with_shared(after, ages=trained.ages)
        return replace(nodes, auxiliary={**trained.auxiliary, _EARLIER: ahead})
