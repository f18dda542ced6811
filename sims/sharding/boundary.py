"""The boundary of a shard in a matrix: the columns it lacks, who has them, and which of its own others lack."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

__all__ = ["Boundary", "boundary_of"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Boundary:
    """One shard's rows of a matrix.

    Parameters
    ----------
    matrix : csr_array
        Shape ``[B, B + H]``: entries in the order of the whole matrix; first its own columns, then those it lacks.
    numbers : ndarray
        Numbers of the columns in the whole matrix, int64 ``[B + H]``.
    sent : dict of int to ndarray
        For each shard that lacks some of the B rows, which of them, int64.
    received : dict of int to slice
        For each shard that has some of the H rows, where they belong among the B + H.
    """

    matrix: csr_array
    numbers: Ints
    sent: dict[int, Ints]
    received: dict[int, slice]


def boundary_of(matrix: csr_array, shard_of: Ints, shard: int) -> Boundary:
    """Find the boundary of a shard.

    Parameters
    ----------
    matrix : csr_array
        Shape ``[M, M]``.
    shard_of : ndarray
        The shard of each row, and of what is multiplied with the column of the same number, int64 ``[M]``.
    shard : int
    """
    size = matrix.shape[0]
    own = np.flatnonzero(shard_of == shard)
    rows, columns = np.repeat(shard_of, np.diff(matrix.indptr)), matrix.indices.astype(np.int64)
    holders = shard_of[columns]
    lacked = np.unique((holders * size + columns)[(rows == shard) & (holders != shard)])
    lent = np.unique((rows * size + columns)[(holders == shard) & (rows != shard)])
    place = np.full(size, -1, dtype=np.int64)
    place[own] = np.arange(len(own))
    place[lacked % size] = len(own) + np.arange(len(lacked))
    mine = matrix[own]
    local = csr_array((mine.data, place[mine.indices], mine.indptr), shape=(len(own), len(own) + len(lacked)))
    bounds = {int(t): np.searchsorted(lacked // size, [t, t + 1]) for t in np.unique(lacked // size)}
    return Boundary(
        matrix=local,
        numbers=np.concatenate([own, lacked % size]),
        sent={int(t): place[lent[lent // size == t] % size] for t in np.unique(lent // size)},
        received={t: slice(int(len(own) + a), int(len(own) + b)) for t, (a, b) in bounds.items()},
    )
