"""Eigenvalues of mixing matrices: all of them for small n, the second-largest modulus for large n."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigvals, eigvalsh
from scipy.sparse import csr_array, eye_array
from scipy.sparse.csgraph import connected_components, reverse_cuthill_mckee
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigs, eigsh, splu

from topology.errors import SolverFailed
from topology.mixing.checks import Stochastic, check_mixing_matrix, is_symmetric

__all__ = [
    "DENSE_NODES",
    "contraction_factor",
    "eigenvalues",
    "second_eigenvalue_modulus",
    "spectral_gap",
]

DENSE_NODES = 1024
"""Up to this many nodes all eigenvalues are computed; beyond it, only the ones that matter, by ARPACK."""

_SEED = 20211020
_LARGEST_FILL = 50_000_000


def eigenvalues(W: csr_array | npt.ArrayLike) -> npt.NDArray[Any]:
    """Return all eigenvalues, largest modulus first: float64 [n] if `W` is symmetric, else complex128 [n].

    Parameters
    ----------
    W : sparse or dense array, shape [n, n]
        Rows or columns sum to 1. Takes O(n²) memory and O(n³) time.

    Raises
    ------
    NotMixingMatrix
        If `W` is not square or not finite.
    """
    matrix = _as_matrix(W)
    dense = matrix.toarray()
    values = eigvalsh(dense) if is_symmetric(matrix) else eigvals(dense)
    ordered: npt.NDArray[Any] = values[np.argsort(-np.abs(values), kind="stable")]
    return ordered


def second_eigenvalue_modulus(W: csr_array | npt.ArrayLike) -> float:
    """Return the largest modulus of an eigenvalue other than the one at 1; 0 for a single node.

    Parameters
    ----------
    W : sparse or dense array, shape [n, n]
        Rows sum to 1 (or columns; the eigenvalues are the same). An eigenvalue 1 that is repeated, as on a
        graph in several parts, counts: the result is then 1.

    Raises
    ------
    NotMixingMatrix
        If neither all rows nor all columns sum to 1.
    SolverFailed
        If ARPACK does not converge.

    Notes
    -----
    Dense for n up to `DENSE_NODES`. Beyond, the eigenvalue at 1 is taken out by subtracting J, and Lanczos
    (or Arnoldi) finds the largest modulus to a residual of 1e-8. Symmetric matrices of thin graphs (rings,
    grids, trees), whose gaps are too small for that, are factorised, and the gap found from the inverse of
    I − W to full relative precision.

    Examples
    --------
    >>> from topology import graphs, mixing, spectrum
    >>> round(spectrum.second_eigenvalue_modulus(mixing.metropolis_hastings(graphs.star(10))), 12)
    0.9
    """
    matrix = _as_matrix(W)
    n = matrix.shape[0]
    if not _rows_sum_to_one(matrix):
        matrix = matrix.T.tocsr()
    if n == 1:
        return 0.0
    if n <= DENSE_NODES:
        deflated = matrix.toarray() - 1.0 / n
        found = eigvalsh(deflated) if is_symmetric(matrix) else eigvals(deflated)
        return float(np.abs(found).max())
    return _symmetric_large(matrix) if is_symmetric(matrix) else _general_large(matrix)


def spectral_gap(W: csr_array | npt.ArrayLike) -> float:
    """Return ``1 − |λ₂|``, one minus `second_eigenvalue_modulus`.

    Raises
    ------
    NotMixingMatrix
        If neither all rows nor all columns sum to 1.

    Examples
    --------
    >>> from topology import graphs, mixing, spectrum
    >>> round(spectrum.spectral_gap(mixing.metropolis_hastings(graphs.ring(100))), 6)
    0.001316
    """
    return 1.0 - second_eigenvalue_modulus(W)


def contraction_factor(W: csr_array | npt.ArrayLike) -> float:
    """Return ``‖(I − J) W (I − J)‖₂``: how much of the distance to consensus a round leaves, at worst.

    Equal to the second eigenvalue modulus when W is symmetric or otherwise normal, and larger when not.

    Raises
    ------
    NotMixingMatrix
        If the rows do not all sum to 1.
    """
    matrix = check_mixing_matrix(W, stochastic="rows", nonnegative=False, tolerance=1e-9)
    n = matrix.shape[0]
    if n == 1:
        return 0.0
    if n <= DENSE_NODES:
        dense = matrix.toarray()
        dense -= dense.mean(axis=0)
        dense -= dense.mean(axis=1, keepdims=True)
        return float(np.linalg.norm(dense, 2))
    transposed = matrix.T.tocsr()
    squared = LinearOperator(
        (n, n), matvec=lambda x: _centred(transposed @ _centred(matrix @ _centred(x))), dtype=np.float64
    )
    return float(np.sqrt(max(_largest(squared), 0.0)))


def _as_matrix(W: csr_array | npt.ArrayLike) -> csr_array:
    given = csr_array(W)
    stochastic: Stochastic = "rows" if _rows_sum_to_one(given) else "columns"
    return check_mixing_matrix(given, stochastic=stochastic, nonnegative=False, tolerance=1e-9)


def _rows_sum_to_one(matrix: csr_array) -> bool:
    return bool(np.abs(np.asarray(matrix.sum(axis=1)) - 1).max() <= 1e-9)


def _centred(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    centred: npt.NDArray[np.float64] = x - x.mean()
    return centred


def _start(n: int) -> npt.NDArray[np.float64]:
    return _centred(np.random.Generator(np.random.Philox(_SEED)).standard_normal(n))


def _largest(operator: LinearOperator, *, symmetric: bool = True) -> float:
    """Largest modulus of an eigenvalue, by Lanczos, or by Arnoldi if the operator is not symmetric."""
    method, iterations, vectors = (eigsh, 400, 30) if symmetric else (eigs, 300, 60)
    start = _start(operator.shape[0])
    try:
        values = method(
            operator,
            k=1,
            which="LM",
            v0=start,
            tol=1e-8,
            maxiter=iterations,
            ncv=vectors,
            return_eigenvectors=False,
        )
    except ArpackNoConvergence as failure:
        raise SolverFailed(
            f"{'Lanczos' if symmetric else 'Arnoldi'} did not converge",
            got=f"n = {len(start)}",
            remedy="The gap is too small to resolve; see topology.spectrum.closed_forms for closed forms"
            if symmetric
            else "Use contraction_factor, which bounds the modulus from above",
        ) from failure
    return float(np.abs(values).max())


def _symmetric_large(matrix: csr_array) -> float:
    n = matrix.shape[0]
    if _is_thin(matrix):
        upper = _upper_end(matrix)
        return max(upper, _lower_end(matrix, upper))
    deflated = LinearOperator((n, n), matvec=lambda x: _centred(matrix @ _centred(x)), dtype=np.float64)
    return _largest(deflated)


def _is_thin(matrix: csr_array) -> bool:
    """Whether factorising fills in little: tree-like, or banded once renumbered (rings, grids)."""
    n = matrix.shape[0]
    if (matrix.nnz - n) / 2 <= 1.1 * n:
        return True
    order = reverse_cuthill_mckee(matrix, symmetric_mode=True)
    place = np.empty(n, dtype=np.int64)
    place[order] = np.arange(n)
    rows = np.repeat(place, np.diff(matrix.indptr))
    bandwidth = int(np.abs(rows - place[matrix.indices]).max())
    return bool(bandwidth * n <= _LARGEST_FILL)


def _upper_end(matrix: csr_array) -> float:
    """λ₂ from the pseudo-inverse of I − W: solve with one node grounded, then centre."""
    n = matrix.shape[0]
    if connected_components(matrix, directed=False, return_labels=False) > 1:
        return 1.0
    solver = splu((eye_array(n) - matrix).tocsc()[1:, 1:])

    def solve(b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return _centred(np.append(0.0, solver.solve(_centred(b.ravel())[1:])))

    inverse = LinearOperator((n, n), matvec=solve, dtype=np.float64)
    return 1.0 - 1.0 / _largest(inverse)


def _lower_end(matrix: csr_array, upper: float) -> float:
    """|λₙ| from the inverse shifted to just below −1, unless Gershgorin's discs show it is below `upper`."""
    diagonal = matrix.diagonal()
    lowest = float((diagonal - (np.asarray(abs(matrix).sum(axis=1)) - np.abs(diagonal))).min())
    if -lowest <= upper:
        return -lowest
    options = {"v0": _start(matrix.shape[0]), "tol": 1e-10, "return_eigenvectors": False}
    return float(abs(eigsh(matrix.tocsc(), k=1, sigma=-1.0 - 1e-9, which="LM", **options)[0]))


def _general_large(matrix: csr_array) -> float:
    n = matrix.shape[0]
    deflated = LinearOperator((n, n), matvec=lambda x: matrix @ x - x.mean(), dtype=np.float64)
    return _largest(deflated, symmetric=False)
