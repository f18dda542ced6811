"""Geometric median by smoothed Weiszfeld steps.

Pillutla, Kakade & Harchaoui, "Robust aggregation for federated learning", IEEE Trans. Signal Processing 70, 2022,
Algorithm 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from gossipfl.algorithms.base import Neighbourhood
from gossipfl.algorithms.declaration import Parameter
from gossipfl.algorithms.pre_aggregation import Aggregating
from gossipfl.algorithms.rules import OfMixing

__all__ = ["GeometricMedian"]

_SMOOTHING = "ν: distances below it count as ν, so that a row at the median does not divide by zero"


@dataclass(frozen=True, slots=True, kw_only=True)
class GeometricMedian(Aggregating):
    """The point with the smallest sum of distances to the node's own row and its neighbours'.

    From the node's own row z, T times: ``z ← Σ_j β_j x_j / Σ_j β_j`` with ``β_j = 1 / max(ν, ‖z − x_j‖)``.
    """

    name = "geometric_median"
    paper = "Pillutla, Kakade & Harchaoui, IEEE TSP 2022"
    rule = "argmin_z Σ_j ‖z − x_j‖ over own and neighbours' rows after a step, by Weiszfeld steps"

    steps: Annotated[int, Parameter("T: Weiszfeld steps, starting from the own row", ge=1)] = 8
    smoothing: Annotated[float, Parameter(_SMOOTHING, gt=0)] = 1e-6
    hostile: OfMixing = 1

    def aggregate(self, everyone: Neighbourhood) -> Tensor:
        """Do the steps."""
        median = everyone.own
        for _ in range(self.steps):
            distances = (everyone.rows - median[:, None]).norm(dim=2).clamp_(min=self.smoothing)
            weights = everyone.present / distances
            weights /= weights.sum(dim=1, keepdim=True)
            median = (weights[..., None] * everyone.rows).sum(dim=1)
        return median
