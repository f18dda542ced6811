"""Row spaces of matrices, grown row by row, and their orthogonal projectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr

__all__ = ["TOLERANCE", "Floats", "RowSpace", "orthonormal_rows"]

Floats = NDArray[np.float64]

TOLERANCE = 1e-9
"""Length, relative to a row's own, below which what a row adds to a space is taken for rounding."""

_CLEARLY_NEW, _CLEARLY_ROUNDING = 1e-6, 1e-12
_NO_CANCELLATION = 1e-5  # diagonal of R from which a factorisation without pivots tells the rank


class RowSpace:
    """The row space of a matrix B, as an orthonormal basis that further rows extend.

    The orthogonal projector onto it is B⁺B. Only columns in which any row has an entry take memory.

    Parameters
    ----------
    size : int
        Number of columns of B.

    Examples
    --------
    >>> space = RowSpace(3)
    >>> len(space.add(np.array([[1.0, 1.0, 0.0], [2.0, 2.0, 0.0]])))
    1
    >>> space.projector_diagonal().round(3).tolist()
    [0.5, 0.5, 0.0]
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._columns = np.zeros(0, dtype=np.int64)
        self._basis = np.zeros((16, 0))
        self.rank = 0

    def add_if_clear(self, rows: Floats) -> bool:
        """Extend the space by rows, unless for any of them it cannot be told whether it is in the space.

        Rows whose distance from it is neither large nor at the level of rounding leave the space as it was.

        Returns
        -------
        bool
            Whether it could be told.
        """
        rest = self._beyond(rows)
        lengths = np.linalg.norm(rest, axis=1)
        rest = rest[lengths > _CLEARLY_ROUNDING]
        if not len(rest):
            return True
        added, lengths = _pivoted(rest)
        if ((lengths > _CLEARLY_ROUNDING) & (lengths < _CLEARLY_NEW)).any():
            return False
        self._append(self._cleaned(added[lengths >= _CLEARLY_NEW]))
        return True

    def add(self, rows: Floats) -> Floats:
        """Extend the space by rows.

        Parameters
        ----------
        rows : ndarray
            Shape ``[k, size]``.

        Returns
        -------
        ndarray
            Orthonormal rows ``[q, size]`` that span what they add to the space; none if it held them all.
        """
        if self.rank == self.size:
            return np.zeros((0, self.size))
        added, lengths = _pivoted(self._beyond(rows))
        added = self._cleaned(added[lengths > TOLERANCE])
        self._append(added)
        whole = np.zeros((len(added), self.size))
        whole[:, self._columns] = added
        return whole

    def projector_diagonal(self) -> Floats:
        """Diagonal of B⁺B, ``[size]``: 1 where the unit vector is in the space, 0 where all rows are 0."""
        diagonal = np.zeros(self.size)
        diagonal[self._columns] = np.square(self._basis[: self.rank]).sum(axis=0)
        return np.minimum(diagonal, 1.0)

    def projector_block(self, columns: NDArray[np.int64]) -> Floats:
        """Rows and columns of B⁺B with the given numbers, ``[k, k]``."""
        part = self.basis()[:, columns]
        block: Floats = part.T @ part
        return block

    def basis(self) -> Floats:
        """Orthonormal rows ``[rank, size]`` that span the space."""
        whole = np.zeros((self.rank, self.size))
        whole[:, self._columns] = self._basis[: self.rank]
        return whole

    def _beyond(self, rows: Floats) -> Floats:
        """What rows of length one have beyond the space."""
        self._widen(rows)
        rest = _unit(rows[:, self._columns])
        basis = self._basis[: self.rank]
        for _ in range(2):  # the first projection leaves rounding behind (Kahan and Parlett)
            rest -= (rest @ basis.T) @ basis
        return rest

    def _cleaned(self, rows: Floats) -> Floats:
        basis = self._basis[: self.rank]
        rows -= (rows @ basis.T) @ basis
        return _unit(rows)

    def _widen(self, rows: Floats) -> None:
        touched = np.union1d(self._columns, np.flatnonzero(rows.any(axis=0)))
        if len(touched) == len(self._columns):
            return
        wider = np.zeros((len(self._basis), len(touched)))
        wider[:, np.searchsorted(touched, self._columns)] = self._basis
        self._columns, self._basis = touched, wider

    def _append(self, rows: Floats) -> None:
        end = self.rank + len(rows)
        if end > len(self._basis):
            longer = np.zeros((max(end, 2 * len(self._basis)), self._basis.shape[1]))
            longer[: self.rank] = self._basis[: self.rank]
            self._basis = longer
        self._basis[self.rank : end] = rows
        self.rank = end


def orthonormal_rows(rows: Floats) -> Floats:
    """Orthonormal rows ``[rank, c]`` that span the same space as rows ``[k, c]``."""
    if len(rows) <= rows.shape[1] and rows.size:
        q, r = qr(rows.T, mode="economic", check_finite=False)
        if np.abs(np.diagonal(r)).min() > _NO_CANCELLATION * np.abs(r).max():
            return np.ascontiguousarray(q.T)
    directions, lengths = _pivoted(rows)
    kept: Floats = directions[lengths > TOLERANCE * lengths.max(initial=0.0)]
    return kept


def _pivoted(rows: Floats) -> tuple[Floats, Floats]:
    """Orthonormal directions, and the length that each adds, from the longest."""
    if not rows.size:
        return np.zeros((0, rows.shape[1])), np.zeros(0)
    q, r, _ = qr(rows.T, mode="economic", pivoting=True, check_finite=False)
    return np.ascontiguousarray(q.T), np.abs(np.diagonal(r))


def _unit(rows: Floats) -> Floats:
    """Rows of length one, without those that are zero."""
    lengths = np.linalg.norm(rows, axis=1)
    kept = lengths > 0
    unit: Floats = rows[kept] / lengths[kept, None]
    return unit
