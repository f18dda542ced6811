"""Circulant sequences: in a round every node sends over the same hops."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

import numpy as np
from scipy.sparse import csr_array

from topology.graphs.topology import IntArray
from topology.sequences.sequence import Row, RuleSequence, from_entries

__all__ = ["Hops", "circulant"]

Hops: TypeAlias = Mapping[int, float]
"""Distance of every hop, and the weight of what comes over it; the rest of a node's weight is its own."""


def circulant(
    name: str,
    n: int,
    hops: Callable[[int], Hops],
    *,
    period: int | None,
    degree: int,
    symmetric: bool = False,
    expected_contraction: float | None = None,
) -> RuleSequence:
    """Return the sequence in which node i sends to i + d (mod n) for each hop d of ``hops(t)`` in round t."""
    return RuleSequence(
        name=name,
        n=n,
        period=period,
        degree=degree,
        symmetric=symmetric,
        expected_contraction=expected_contraction,
        make=partial(_matrix, n, hops),
        row_rule=partial(_row, n, hops),
        recipients_rule=partial(_recipients, n, hops),
    )


def _matrix(n: int, hops: Callable[[int], Hops], t: int) -> csr_array:
    weights = hops(t)
    nodes, distances = np.arange(n), np.array(list(weights), dtype=np.int64)
    columns = (nodes - distances[:, None]) % n
    shares = np.repeat(list(weights.values()), n)
    return from_entries(n, np.tile(nodes, len(weights)), columns.ravel(), shares)


def _row(n: int, hops: Callable[[int], Hops], t: int, i: int) -> Row:
    weights = {(i - distance) % n: weight for distance, weight in hops(t).items()}
    weights[i] = 1.0 - sum(weights.values())
    nodes = sorted(weights)
    return np.array(nodes), np.array([weights[j] for j in nodes])


def _recipients(n: int, hops: Callable[[int], Hops], t: int, i: int) -> IntArray:
    return np.array(sorted((i + distance) % n for distance in hops(t)), dtype=np.int64)
