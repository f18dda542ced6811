"""BALANCE and Sketchguard: neighbours whose rows are close to the node's own, ever closer as time goes on.

Fang, Zhang, Hairi, Khanduri, Liu, Lu, Liu & Gong, "Byzantine-robust decentralized federated learning", CCS 2024;
"Sketchguard: scaling Byzantine-robust decentralized federated learning via sketch-based screening", 2025 (arXiv
2510.07922).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch
from torch import Tensor

from gossipfl.algorithms.base import (
    Neighbourhood,
    NeighbourRows,
    Preview,
    Requirements,
    Round,
    RoundAlgorithm,
    RoundContext,
)
from gossipfl.algorithms.declaration import Parameter
from gossipfl.algorithms.rules import averaged, nearest_first
from gossipfl.codecs.draws import common_key
from gossipfl.sketches import sketches
from gossipfl.training.nodes import Nodes

__all__ = ["Balance", "Sketchguard"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _NearOnes(RoundAlgorithm):
    """Acceptance of neighbours within a radius that falls, measured on their rows or on sketches of them."""

    radius: Annotated[float, Parameter("γ: first radius, over the norm of the own row or sketch", gt=0)] = 0.3
    decay: Annotated[float, Parameter("κ: how fast the radius falls", ge=0)] = 1.0
    horizon: Annotated[int, Parameter("T: rounds in which it falls to e^(−κ) of the first", ge=1)] = 100
    own: Annotated[float, Parameter("α: weight of the own row", ge=0, le=1)] = 0.5

    @property
    def requirements(self) -> Requirements:
        """Rows that sum to one; the weights are its own."""
        return Requirements(stochastic="rows", own_weights=True)

    def accepted(self, around: Neighbourhood, *, number: int) -> Tensor:
        """Which neighbours are accepted in a round, bool ``[b, K]``."""
        radius = self.radius * math.exp(-self.decay * number / self.horizon) * around.own.norm(dim=1)
        distances = (around.rows - around.own[:, None]).norm(dim=2)
        ranks, _ = nearest_first(distances, around.present)
        close = (distances <= radius[:, None]) & around.present
        return torch.where(close.any(dim=1, keepdim=True), close, (ranks == 0) & around.present)


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance(_NearOnes):
    """``x_i ← α x_i + (1 − α) mean of the accepted``.

    Accepted are neighbours with ``‖x_i − x_j‖ ≤ γ exp(−κ t/T) ‖x_i‖`` in round t; if there is none, the nearest.
    """

    name = "balance"
    paper = "Fang et al., CCS 2024"
    rule = "x_i ← α x_i + (1 − α) mean of {x_j: ‖x_i − x_j‖ ≤ γ e^(−κt/T) ‖x_i‖} after a step"
    preserves_mean = False

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        trained = context.local.update(nodes)
        rule = partial(self.combine, number=context.round)
        mixed = yield NeighbourRows(trained.rows[:, : context.shared_size], rule=rule)
        return trained.with_shared(mixed.rows, ages=trained.ages)

    def combine(self, around: Neighbourhood, *, number: int) -> Tensor:
        """Average the own row with those accepted."""
        return averaged(around, self.accepted(around, number=number), own=self.own)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketchguard(_NearOnes):
    """BALANCE on count sketches: models are sent only to those who have accepted their sketches.

    A model that is not what its sketch said is judged again, by the sketch of what was sent. The key of the
    sketches is another one in each round, and known to all.
    """

    name = "sketchguard"
    paper = "Sketchguard, 2025"
    rule = "as balance, by distances of count sketches; only accepted models are sent, after a step"
    sends = "width, and P if accepted"
    preserves_mean = False

    width: Annotated[int, Parameter("numbers in a sketch", ge=1)] = 1000

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        trained = context.local.update(nodes)
        rows = trained.rows[:, : context.shared_size]
        key = common_key(seed=context.seed, round_number=context.round)
        summary = partial(sketches, shared_size=rows.shape[1], key=key, width=self.width)
        preview = Preview(
            summary=summary, width=self.width, wanted=partial(self.accepted, number=context.round)
        )
        mixed = yield NeighbourRows(rows, rule=self.combine, preview=preview)
        return trained.with_shared(mixed.rows, ages=trained.ages)

    def combine(self, around: Neighbourhood) -> Tensor:
        """Average the own row with those that were sent."""
        return averaged(around, around.present, own=self.own)
