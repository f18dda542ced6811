"""Spectra of circulant matrices, in which every node averages over the same hops: Fourier transforms of a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from topology.sequences.sequence import MixingSequence

__all__ = ["circulant_factors"]

_ROUNDING = 1e-14  # of a diagonal, which is what the other weights of a row leave of 1


def circulant_factors(sequence: MixingSequence) -> npt.NDArray[np.floating[Any]] | None:
    """Return what each round of a period leaves of the square of each Fourier component of the nodes' values.

    Parameters
    ----------
    sequence : MixingSequence

    Returns
    -------
    float64 array, shape [period, n], or None
        ``|λ_k|²`` of the matrices, 0 in place of the mean's, k = 0. None if rounds are drawn at random, or any
        of their matrices is not circulant.
    """
    if sequence.period is None:
        return None
    found = []
    for t in range(sequence.period):
        row = _row(sequence.matrix(t))
        if row is None:
            return None
        found.append(np.abs(np.fft.fft(row)) ** 2)
    factors = np.array(found)
    factors[:, 0] = 0.0
    return factors


def _row(W: csr_array) -> npt.NDArray[np.floating[Any]] | None:
    """The first row of a matrix all of whose rows are this one, shifted; None of any other."""
    n = W.shape[0]
    count = int(W.indptr[1])
    if (np.diff(W.indptr) != count).any():
        return None
    hops = (W.indices.reshape(n, count) - np.arange(n)[:, None]) % n
    if (np.sort(hops[n // 2]) != np.sort(hops[0])).any():  # as of nearly all others, however large
        return None
    order = np.argsort(hops, axis=1, kind="stable")
    hops, weights = (np.take_along_axis(each, order, 1) for each in (hops, W.data.reshape(n, count)))
    if (hops != hops[0]).any() or (np.abs(weights - weights[0]) > _ROUNDING).any():
        return None
    row = np.zeros(n)
    np.add.at(row, hops[0], weights[0])
    return row
