"""Checks of mixing matrices, for those of the user too."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, issparse

from topology.errors import NotMixingMatrix
from topology.graphs.topology import Topology

__all__ = ["Stochastic", "check_mixing_matrix", "is_symmetric"]

Stochastic = Literal["doubly", "rows", "columns"]


def check_mixing_matrix(
    W: csr_array | npt.ArrayLike,
    topology: Topology | None = None,
    *,
    stochastic: Stochastic = "doubly",
    symmetric: bool = False,
    nonnegative: bool = True,
    tolerance: float = 1e-12,
) -> csr_array:
    """Return `W` as a float64 `csr_array` if it is a mixing matrix; the error names the offending entry.

    Parameters
    ----------
    W : sparse or dense array, shape [n, n]
        ``W[i, j]`` is the weight that node i gives to what node j sends.
    topology : Topology, optional
        Checks that ``W[i, j]`` is zero unless i = j or j sends to i.
    stochastic : {"doubly", "rows", "columns"}
        Which sums are one: rows and columns (averaging keeps the mean), rows only (consensus on a weighted
        mean), or columns only (push-sum).
    symmetric : bool
        Checks W = Wᵀ.
    nonnegative : bool
        Checks that no weight is negative; the fastest averaging weights may be.
    tolerance : float
        Largest departure from one of a sum, and of an entry from its mirror image.

    Returns
    -------
    scipy.sparse.csr_array of float64, shape [n, n]

    Raises
    ------
    NotMixingMatrix
        Naming the row, column or entry that breaks an invariant most, and by how much.

    Examples
    --------
    >>> from topology import graphs, mixing
    >>> graph = graphs.star(5)
    >>> W = mixing.check_mixing_matrix(mixing.metropolis_hastings(graph), graph, symmetric=True)
    """
    matrix = _as_square(W)
    if not np.isfinite(matrix.data).all():
        raise NotMixingMatrix(
            "the matrix has entries that are not finite",
            expected="finite weights",
            got=f"{int((~np.isfinite(matrix.data)).sum())} NaN or infinite",
            remedy="Look for a division by a degree of zero",
        )
    if nonnegative and (matrix.data < 0).any():
        i, j = _place(matrix, int(matrix.data.argmin()))
        raise NotMixingMatrix(
            "a weight is negative",
            expected="weights of at least 0",
            got=f"W[{i}, {j}] = {matrix.data.min():.6g}",
            remedy="Pass nonnegative=False if that is meant, as for the fastest averaging weights",
        )
    for axis, line, checked in (
        (1, "row", stochastic in ("doubly", "rows")),
        (0, "column", stochastic in ("doubly", "columns")),
    ):
        if checked:
            _check_sums(matrix, axis, line, tolerance)
    if symmetric:
        _check_symmetric(matrix, tolerance)
    if topology is not None:
        _check_support(matrix, topology)
    return matrix


def is_symmetric(W: csr_array, tolerance: float = 1e-12) -> bool:
    """Return whether ``|W − Wᵀ|`` is nowhere above `tolerance`."""
    difference = abs(W - W.T)
    return bool(difference.nnz == 0 or difference.max() <= tolerance)


def _as_square(W: csr_array | npt.ArrayLike) -> csr_array:
    matrix = csr_array(W if issparse(W) else np.atleast_2d(np.asarray(W)), dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise NotMixingMatrix(
            "the matrix is not square",
            expected="shape [n, n]",
            got=matrix.shape,
            remedy="Pass one row a node",
        )
    return matrix


def _place(matrix: csr_array, entry: int) -> tuple[int, int]:
    row = int(np.searchsorted(matrix.indptr, entry, side="right")) - 1
    return row, int(matrix.indices[entry])


def _check_sums(matrix: csr_array, axis: int, line: str, tolerance: float) -> None:
    excess = np.abs(np.asarray(matrix.sum(axis=axis)) - 1.0)
    worst = int(excess.argmax()) if len(excess) else 0
    if len(excess) and excess[worst] > tolerance:
        total = float(np.asarray(matrix.sum(axis=axis))[worst])
        remedy = (
            "Give the missing weight to the diagonal"
            if line == "row"
            else "Pass stochastic='rows' if the mean need not be kept, or use metropolis_hastings, whose"
            " columns sum to 1 on every undirected graph"
        )
        raise NotMixingMatrix(
            f"{line} {worst} does not sum to 1",
            expected=f"1 within {tolerance:g}",
            got=repr(total),
            remedy=remedy,
        )


def _check_symmetric(matrix: csr_array, tolerance: float) -> None:
    difference = (matrix - matrix.T).tocsr()
    if difference.nnz and np.abs(difference.data).max() > tolerance:
        i, j = _place(difference, int(np.abs(difference.data).argmax()))
        raise NotMixingMatrix(
            "the matrix is not symmetric",
            expected=f"W[i, j] = W[j, i] within {tolerance:g}",
            got=f"W[{i}, {j}] = {matrix[i, j]:.6g} but W[{j}, {i}] = {matrix[j, i]:.6g}",
            remedy="Pass symmetric=False if that is meant",
        )


def _check_support(matrix: csr_array, topology: Topology) -> None:
    if matrix.shape[0] != topology.n:
        raise NotMixingMatrix(
            f"the matrix does not belong to {topology.name}",
            expected=f"{topology.n} rows",
            got=matrix.shape[0],
            remedy="Make the matrix from this topology",
        )
    weights = matrix.tocoo()
    off = (weights.row != weights.col) & (weights.data != 0)
    entries = csr_array((np.ones(off.sum()), (weights.row[off], weights.col[off])), shape=matrix.shape)
    strays = csr_array(entries - entries.multiply(topology.adjacency.T))
    strays.eliminate_zeros()
    if strays.nnz:
        i, j = _place(strays, 0)
        raise NotMixingMatrix(
            f"a weight is off the graph {topology.name}",
            expected=f"W[{i}, {j}] = 0, because {j} does not send to {i}",
            got=f"{matrix[i, j]:.6g}",
            remedy="W[i, j] weighs what j sends to i: transpose W if it was made the other way",
        )
