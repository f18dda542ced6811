"""A rule on all neighbours' rows: accept the models that are near one's own, and average with them.

Fang, Zhang, Hairi, Khanduri, Liu, Lu, Liu & Gong, "Byzantine-robust decentralized federated learning", CCS 2024.
docs/extend.md explains it; `gossipfl sim run` and peers take it by the name ``balance:Balance``.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch
from torch import Tensor

from gossipfl.algorithms import (
    Neighbourhood,
    NeighbourRows,
    Parameter,
    Requirements,
    Round,
    RoundAlgorithm,
    RoundContext,
)
from gossipfl.training import Nodes


@dataclass(frozen=True)
class Balance(RoundAlgorithm):
    """Train, and take the mean of one's own model and that of the neighbours' models that are near it."""

    tolerance: Annotated[float, Parameter("γ: distance accepted, relative to one's own norm", gt=0)] = 0.3
    decay: Annotated[float, Parameter("κ: the tolerance falls by exp(−κ) over the rounds", ge=0)] = 1.0
    rounds: Annotated[int, Parameter("T: length of the run", ge=1)] = 100

    requirements = Requirements(stochastic="rows")
    preserves_mean = False

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        tolerance = self.tolerance * math.exp(-self.decay * context.round / self.rounds)
        trained = context.local.update(nodes)
        shared = trained.rows[:, : context.shared_size]
        mixed = yield NeighbourRows(shared, rule=partial(halfway_to_accepted, tolerance=tolerance))
        return trained.with_shared(mixed.rows, ages=trained.ages)


def halfway_to_accepted(around: Neighbourhood, *, tolerance: float) -> Tensor:
    """Go half of the way to the mean of the rows that are accepted."""
    distances = (around.rows - around.own[:, None]).norm(dim=2).masked_fill(~around.present, torch.inf)
    near = distances <= tolerance * around.own.norm(dim=1, keepdim=True)
    closest = (distances == distances.amin(dim=1, keepdim=True)) & around.present
    accepted = torch.where(near.any(dim=1, keepdim=True), near, closest)[..., None]
    towards = torch.where(accepted, around.rows - around.own[:, None], 0).sum(dim=1)
    return around.own + towards / accepted.sum(dim=1).clamp(min=1) / 2
