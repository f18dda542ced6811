"""Two rules that are not linear, declared as a user would, and the same in NumPy, node by node."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gossipfl.algorithms import Neighbourhood, NeighbourRows, Round, RoundAlgorithm, RoundContext
from gossipfl.training import Nodes


class _OverModels(RoundAlgorithm):
    """Train, then combine models by a rule."""

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        trained = context.local.update(nodes)
        mixed = yield NeighbourRows(trained.rows[:, : context.shared_size], rule=self.combine)
        return trained.with_shared(mixed.rows, ages=trained.ages)

    def combine(self, around: Neighbourhood) -> Tensor:
        raise NotImplementedError


@dataclass(frozen=True)
class TrimmedMean(_OverModels):
    """Coordinate-wise mean of one's own row and the neighbours', without the ``trim`` largest and smallest."""

    trim: int = 1

    def combine(self, around: Neighbourhood) -> Tensor:
        everyone = around.including_own()
        present = everyone.present[..., None]
        ordered = everyone.rows.masked_fill(~present, torch.inf).sort(dim=1).values
        counts = present.sum(dim=1)
        trim = torch.clamp((counts - 1) // 2, max=self.trim)
        places = torch.arange(ordered.shape[1])[None, :, None]
        kept = (places >= trim[:, None]) & (places < (counts - trim)[:, None])
        return torch.where(kept, ordered, 0).sum(dim=1) / kept.sum(dim=1)


@dataclass(frozen=True)
class SelfCentredClipping(_OverModels):
    """``x_i + Σ_j w_ij clip(x_j − x_i, radius)`` (He, Karimireddy & Jaggi 2022)."""

    radius: float = 1.0

    def combine(self, around: Neighbourhood) -> Tensor:
        differences = around.rows - around.own[:, None]
        norms = differences.norm(dim=2)
        factors = torch.clamp(self.radius / torch.where(norms > 0, norms, 1), max=1)
        return around.own + ((around.weights * factors)[..., None] * differences).sum(dim=1)


def trimmed_mean_by_hand(rows: np.ndarray, W: np.ndarray, trim: int) -> np.ndarray:
    combined = np.empty_like(rows)
    for i in range(len(rows)):
        heard = [j for j in range(len(rows)) if j == i or W[i, j] != 0]
        least = min(trim, (len(heard) - 1) // 2)
        for d in range(rows.shape[1]):
            values = sorted(rows[j, d] for j in heard)
            combined[i, d] = np.mean(values[least : len(values) - least])
    return combined


def clipping_by_hand(rows: np.ndarray, W: np.ndarray, radius: float) -> np.ndarray:
    combined = rows.copy()
    for i in range(len(rows)):
        for j in range(len(rows)):
            if j != i and W[i, j] != 0:
                difference = rows[j] - rows[i]
                norm = np.sqrt((difference**2).sum())
                combined[i] += W[i, j] * difference * (min(1.0, radius / norm) if norm else 1.0)
    return combined
