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
from gossipfl.algorithms.rules import Combining, Hostile, mean_of, nearest_first

__all__ = ["Krum"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Krum(Combining):
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

    def combine(self, around: Neighbourhood) -> Tensor:
        """Score all, and take the mean of the best."""
        everyone = around.including_own()
        present, counts = everyone.present, everyone.present.sum(dim=1, keepdim=True)
        good = torch.clamp(counts - self.hostile, min=counts // 2 + 1)
        squares = _squared_distances(everyone.rows - around.own[:, None])
        nearest = squares.masked_fill(~present[:, None], torch.inf).sort(dim=2).values
        within = torch.arange(nearest.shape[2], device=nearest.device) < good[..., None]
        ranks, _ = nearest_first(torch.where(within, nearest, 0).sum(dim=2), present)
        return mean_of(everyone.rows, ranks < (good if self.chosen is None else good.clamp(max=self.chosen)))


def _squared_distances(rows: Tensor) -> Tensor:
    """Between all pairs of rows, ``[b, K, K]``, by products, in which rows about zero lose few digits."""
    products = rows @ rows.mT
    squares = products.diagonal(dim1=1, dim2=2)
    return (squares[:, :, None] + squares[:, None] - 2 * products).clamp_(min=0)
