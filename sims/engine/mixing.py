"""Products of a mixing matrix with the rows of all nodes: compiled on the processor, sparse on a card."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from sims.engine.allocator import Spare
from sims.engine.prefetch import fetch_begin_of_row
from sims.engine.workers import Workers

__all__ = ["Mixing", "weighted_sums"]

Ints = NDArray[np.int64]
_DENSE = 1024  # nodes whose matrix is a dense one on a card, which multiplies those fastest


class Mixing:
    """Weighted sums of rows by one sparse mixing matrix.

    Parameters
    ----------
    matrix : csr_array
        Shape ``[B, N]``.
    device : torch.device
    workers : Workers
        Threads that share the nodes.
    spare : Spare, optional
        Memory for results; its own unless given.
    """

    def __init__(
        self, matrix: csr_array, *, device: torch.device, workers: Workers, spare: Spare | None = None
    ) -> None:
        self._matrix, self._device, self._workers, self._spare = matrix, device, workers, spare or Spare()
        self._first, self._neighbours = (part.astype(np.int64) for part in (matrix.indptr, matrix.indices))
        self._weights: dict[torch.dtype, NDArray[np.floating]] = {}
        self._on_card: dict[torch.dtype, Tensor] = {}

    def __call__(self, rows: Tensor) -> Tensor:
        """Σ_j w_ij x_j of rows ``[N, D]``: ``[B, D]``, summed in the order of the matrix's entries."""
        if self._device.type != "cpu":
            return self._of_card(rows.dtype) @ rows
        given = rows.contiguous().numpy()
        result = self._spare.empty(self._matrix.shape[0], given.shape[1], dtype=rows.dtype)
        sums = result.numpy()
        weights = self._weights.get(rows.dtype)
        if weights is None:
            weights = self._weights[rows.dtype] = self._matrix.data.astype(given.dtype)

        def part(thread: int, first: int, last: int) -> None:
            weighted_sums(self._first, self._neighbours, weights, given, sums, first, last)

        self._workers.share(part, 0, len(sums))
        return result

    def _of_card(self, dtype: torch.dtype) -> Tensor:
        if dtype not in self._on_card:
            if self._matrix.shape[0] <= _DENSE:
                self._on_card[dtype] = torch.from_numpy(self._matrix.toarray()).to(self._device, dtype)
                return self._on_card[dtype]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that sparse tensors are young
                self._on_card[dtype] = torch.sparse_csr_tensor(
                    torch.from_numpy(self._first),
                    torch.from_numpy(self._neighbours),
                    torch.from_numpy(self._matrix.data.copy()).to(dtype),
                    size=self._matrix.shape,
                ).to(self._device)
        return self._on_card[dtype]


@njit(cache=True, nogil=True, _nrt=False)
def _fetch_ahead(rows: NDArray[np.floating], neighbours: Ints, entry: int, count: int) -> None:
    """Ask for rows that come eight entries later than some."""
    for later in range(entry + 8, min(entry + 8 + count, len(neighbours))):
        fetch_begin_of_row(rows, neighbours[later])


@njit(cache=True, nogil=True)
def weighted_sums(
    first_entry: Ints,
    neighbours: Ints,
    weights: NDArray[np.floating],
    rows: NDArray[np.floating],
    sums: NDArray[np.floating],
    first: int,
    last: int,
) -> None:
    """Write the weighted sums of the nodes ``first … last``: up to eight neighbours at a time, in order.

    A sum that is read and written once for eight neighbours leaves the memory's rate to their rows; those left
    over, or all that a one-peer graph has, are taken by fours and twos. Additions are in the order of one
    neighbour after another, so results are the same to the bit.

    Parameters
    ----------
    first_entry, neighbours, weights : ndarray
        A matrix by compressed rows.
    rows, sums : ndarray
        ``[N, D]``, contiguous.
    first, last : int
    """
    for i in range(first, last):
        k, end = first_entry[i], first_entry[i + 1]
        s = sums[i]
        s[:] = 0
        while k + 8 <= end:
            _fetch_ahead(rows, neighbours, k, 8)
            w0, w1, w2, w3 = weights[k], weights[k + 1], weights[k + 2], weights[k + 3]
            w4, w5, w6, w7 = weights[k + 4], weights[k + 5], weights[k + 6], weights[k + 7]
            x0, x1 = rows[neighbours[k]], rows[neighbours[k + 1]]
            x2, x3 = rows[neighbours[k + 2]], rows[neighbours[k + 3]]
            x4, x5 = rows[neighbours[k + 4]], rows[neighbours[k + 5]]
            x6, x7 = rows[neighbours[k + 6]], rows[neighbours[k + 7]]
            for c in range(len(s)):
                four = (((s[c] + w0 * x0[c]) + w1 * x1[c]) + w2 * x2[c]) + w3 * x3[c]
                s[c] = (((four + w4 * x4[c]) + w5 * x5[c]) + w6 * x6[c]) + w7 * x7[c]
            k += 8
        if k + 4 <= end:
            _fetch_ahead(rows, neighbours, k, 4)
            w0, w1, w2, w3 = weights[k], weights[k + 1], weights[k + 2], weights[k + 3]
            x0, x1 = rows[neighbours[k]], rows[neighbours[k + 1]]
            x2, x3 = rows[neighbours[k + 2]], rows[neighbours[k + 3]]
            for c in range(len(s)):
                s[c] = (((s[c] + w0 * x0[c]) + w1 * x1[c]) + w2 * x2[c]) + w3 * x3[c]
            k += 4
        if k + 2 <= end:
            _fetch_ahead(rows, neighbours, k, 2)
            w0, w1 = weights[k], weights[k + 1]
            x0, x1 = rows[neighbours[k]], rows[neighbours[k + 1]]
            for c in range(len(s)):
                s[c] = (s[c] + w0 * x0[c]) + w1 * x1[c]
            k += 2
        if k < end:
            _fetch_ahead(rows, neighbours, k, 1)
            w0, x0 = weights[k], rows[neighbours[k]]
            for c in range(len(s)):
                s[c] += w0 * x0[c]
