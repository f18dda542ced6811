"""The effective number of neighbours, as gradient noise sees a topology."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_discrete_lyapunov
from scipy.sparse import csr_array

from topology.bounds import check_number
from topology.mixing.checks import check_mixing_matrix, is_symmetric
from topology.spectrum.eigen import DENSE_NODES, eigenvalues

__all__ = ["effective_neighbours"]

_PROBES = 64


def effective_neighbours(W: csr_array | npt.ArrayLike, gamma: float) -> float:
    """Return the effective number of neighbours ``n_W(γ)``: by how much mixing averages out noise.

    Parameters
    ----------
    W : sparse or dense array, shape [n, n]
        Mixing matrix, rows summing to 1.
    gamma : float
        Decay of the walk, in [0, 1): about 1 − 2η·(curvature) for a step size η.

    Returns
    -------
    float
        From 1 (no mixing) to n (exact averaging every round). For symmetric W,
        ``(1−γ)⁻¹ / mean_i[λᵢ² / (1 − γλᵢ²)]``; in general λᵢ² gives way to the sum over t of
        ``γᵗ ‖W^{t+1}‖²_F``. Exact for n ≤ 1,024 (symmetric: 4,096); beyond, estimated by 64 probing vectors.

    Raises
    ------
    InvalidParameter
        If `gamma` is outside [0, 1).
    NotMixingMatrix
        If rows do not sum to 1.

    References
    ----------
    Vogels, Hendrikx and Jaggi, "Beyond spectral gap: The role of the topology in decentralized learning",
    NeurIPS 2022, section 3, equation (2).
    """
    gamma = check_number("gamma", gamma, ge=0, lt=1, remedy="Pass e.g. gamma=0.9")
    matrix = check_mixing_matrix(W, stochastic="rows", nonnegative=False, tolerance=1e-9)
    n = matrix.shape[0]
    if n <= 4 * DENSE_NODES and is_symmetric(matrix):
        squares = eigenvalues(matrix) ** 2
        mean = float(np.mean(squares / (1 - gamma * squares)))
    elif n <= DENSE_NODES:
        dense = matrix.toarray()
        # S = WᵀW + γ WᵀSW sums γᵗ (W^{t+1})ᵀ W^{t+1}.
        S = solve_discrete_lyapunov(np.sqrt(gamma) * dense.T, dense.T @ dense)
        mean = float(np.trace(S)) / n
    else:
        mean = _probed(matrix, gamma)
    return 1 / (1 - gamma) / mean


def _probed(matrix: csr_array, gamma: float) -> float:
    n = matrix.shape[0]
    X = np.random.Generator(np.random.Philox(0)).choice([-1.0, 1.0], size=(n, _PROBES))
    total, weight = 0.0, 1.0
    while weight > 1e-10 * (1 - gamma):
        X = matrix @ X
        # The tail is at least the consensus value's, which is summed in closed form once all agree.
        norm = float((X**2).sum() / (n * _PROBES))
        spread = float(((X - X.mean(axis=0)) ** 2).sum() / (n * _PROBES))
        if spread < 1e-12 * norm:
            return total + weight * norm / (1 - gamma)
        total += weight * norm
        weight *= gamma
    return total
