"""Weights of the rows that arrived for an exchange, and of those that did not."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["average", "listening_weights", "median", "push_weights", "weights_without"]

Weights = Mapping[int, float]
"""By number of the member, the weight of its row."""


def weights_without(weights: Weights, *, own: int, missing: Collection[int]) -> dict[int, float]:
    """Add the weights of missing rows to the peer's own row.

    The sum of the weights does not change, so a row of a row-stochastic matrix stays stochastic.

    Parameters
    ----------
    weights : mapping of int to float
        A row of the mixing matrix.
    own : int
        Number of the peer itself.
    missing : collection of int
    """
    returned = {number: weight for number, weight in weights.items() if number in missing}
    return push_weights(weights, own=own, missing=missing, returned=returned)


def listening_weights(weights: Weights, *, own: int, missing: Collection[int]) -> dict[int, float]:
    """Distribute the weights of the peer's own row, and of missing ones, over the rows that arrived.

    Parameters
    ----------
    weights : mapping of int to float
        A row of the mixing matrix.
    own : int
    missing : collection of int

    Returns
    -------
    dict of int to float
        They sum to one. If nothing arrived, all weight is on the peer's own row.
    """
    arrived = {
        number: weight
        for number, weight in sorted(weights.items())
        if number != own and number not in missing and weight > 0
    }
    total = sum(arrived.values())
    return {number: weight / total for number, weight in arrived.items()} if arrived else {own: 1.0}


def push_weights(
    weights: Weights, *, own: int, missing: Collection[int], returned: Mapping[int, float]
) -> dict[int, float]:
    """Weights of a push-sum exchange, in which a sender keeps whatever was not accepted.

    Mass that a neighbour did not send stays with that neighbour, so nothing replaces it here. Mass that a
    recipient did not acknowledge stays here, so that column sums are one whatever is lost.

    Parameters
    ----------
    weights : mapping of int to float
        A row of the mixing matrix.
    own : int
    missing : collection of int
        Members whose rows did not arrive.
    returned : mapping of int to float
        For the number of each recipient that accepted nothing, the weight it would have given to this peer's row.
    """
    kept = {number: weight for number, weight in weights.items() if number not in missing}
    return dict(sorted({**kept, own: kept.get(own, 0.0) + sum(returned.values())}.items()))


def average(weights: Weights, rows: Mapping[int, Tensor]) -> Tensor:
    """Σ_j w_j x_j in increasing order of j, each product and sum rounded to the rows' precision.

    Multiplying all rows by a sparse matrix works the same way, so both give the same bits.

    Parameters
    ----------
    weights : mapping of int to float
    rows : mapping of int to Tensor
        Shape ``[K]`` each.

    Returns
    -------
    Tensor
        Shape ``[K]``.
    """
    numbers = sorted(number for number, weight in weights.items() if weight)
    example = next(iter(rows.values())).numpy()
    total: NDArray[np.floating] = np.zeros_like(example)
    for number in numbers:
        total += example.dtype.type(weights[number]) * rows[number].numpy()
    return torch.from_numpy(total)


def median(rows: Sequence[Tensor]) -> Tensor:
    """Coordinate-wise median, the mean of the middle two if their number is even.

    It stands in for the own row of a peer that listens, wherever a rule is centred on that.

    Parameters
    ----------
    rows : sequence of Tensor
        Shape ``[K]`` each, at least one.
    """
    ordered = torch.stack(list(rows)).sort(dim=0).values
    return (ordered[(len(rows) - 1) // 2] + ordered[len(rows) // 2]) / 2
