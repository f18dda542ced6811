"""Distances between models."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

__all__ = ["pairwise_distances", "sampled", "spectral_order"]

Rows = NDArray[np.floating[Any]]
Floats = NDArray[np.float64]


def pairwise_distances(rows: Rows, shared_size: int) -> Floats:
    """Euclidean distances between all models, float64 ``[n, n]``, in O(n² + nD) memory.

    The mean of all n² squared distances is twice the consensus distance.
    """
    shared = np.asarray(rows[:, :shared_size], dtype=np.float64)
    centred = shared - shared.mean(axis=0)
    products = centred @ centred.T
    squares = np.diag(products)
    distances: Floats = np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2 * products, 0.0))
    np.fill_diagonal(distances, 0.0)
    return distances


def spectral_order(distances: Floats) -> NDArray[np.int64]:
    """Order nodes so that those with like models stand side by side.

    Parameters
    ----------
    distances : ndarray
        Shape ``[n, n]``, symmetric.

    Returns
    -------
    ndarray
        Permutation of 0 … n − 1, int64: by the Fiedler vector of the similarities exp(−d²/s²), with s the
        median distance.

    References
    ----------
    Atkins, Boman and Hendrickson, "A spectral algorithm for seriation and the consecutive ones problem", SIAM
    Journal on Computing 28, 1998.
    """
    n = len(distances)
    apart = distances[~np.eye(n, dtype=bool)]
    if n < 3 or not apart.max() > 0:
        return np.arange(n, dtype=np.int64)
    scale = float(np.median(apart)) or float(apart.max())
    similarity = np.exp(-((distances / scale) ** 2))
    laplacian = np.diag(similarity.sum(axis=1)) - similarity
    _, vectors = eigh(laplacian, subset_by_index=[1, 1])
    fiedler = vectors[:, 0] * np.sign(vectors[np.abs(vectors[:, 0]).argmax(), 0])
    order: NDArray[np.int64] = np.argsort(fiedler, kind="stable").astype(np.int64)
    return order


def sampled(n: int, most: int) -> NDArray[np.int64]:
    """Numbers of at most ``most`` of n nodes, evenly spaced."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.int64))
