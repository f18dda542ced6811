"""Krum and multi-Krum: the rows closest to most others.

Blanchard, El Mhamdi, Guerraoui & Stainer, "Machine learning with adversaries: Byzantine tolerant gradient
descent", NeurIPS 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from gossipfl.algorithms.base import Neighbourhood
from gossipfl.algorithms.declaration import Parameter
from gossipfl.algorithms.pre_aggregation import Aggregating, squared_distances
from gossipfl.algorithms.rules import Hostile, mean_of, nearest_first

__all__ = ["Krum"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Krum(Aggregating):
    """Mean of the m rows with the lowest scores; the node's own row is one of the n candidates. m = 1 is Krum.

    The score of a row is the sum of squares of its distances to the n − b nearest rows, itself included, as in
    Allouah et al., "Fixing by mixing", AISTATS 2023; the first paper counts one row fewer.
    """

    name = "krum"
    paper = "Blanchard et al., NeurIPS 2017"
    rule = "mean of those m of the own and neighbours' rows, after a step, that are closest to their n − b nearest"

    hostile: Hostile = 1
    chosen: Annotated[
        int | None, Parameter("m: number of rows averaged; n − b (multi-Krum) if unset", ge=1)
    ] = 1

    def aggregate(self, everyone: Neighbourhood) -> Tensor:
        """Score all, and take the mean of the best."""
        present, counts = everyone.present, everyone.present.sum(dim=1, keepdim=True)
        good = torch.clamp(counts - self.hostile, min=counts // 2 + 1)
        squares = squared_distances(everyone.rows - everyone.own[:, None])
        nearest = squares.masked_fill(~present[:, None], torch.inf).sort(dim=2).values
        within = torch.arange(nearest.shape[2], device=nearest.device) < good[..., None]
        ranks, _ = nearest_first(torch.where(within, nearest, 0).sum(dim=2), present)
        return mean_of(everyone.rows, ranks < (good if self.chosen is None else good.clamp(max=self.chosen)))
