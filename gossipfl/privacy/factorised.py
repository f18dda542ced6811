"""Noise that is correlated over a node's own steps, so that sums of steps have little of it: square-root factors.

The sums of all steps so far are A g with A the lower triangle of ones. With A = B C they are released as
``B (C g + ξ) = A (g + C⁻¹ ξ)``: step t gets the noise ``Σ_k d_k ξ_{t−k}``. The square root of A has ``C⁻¹ = (1 −
x)^{1/2}`` as a power series; here its first p coefficients are kept (a banded inverse), so a step needs p draws.

References
----------
Fichtenberger, Henzinger and Upadhyay, "Constant matters: fine-grained error bound on differentially private
continual observation", ICML 2023. Denisov et al., "Improved differential privacy for SGD via optimal private
linear operators on adaptive streams", NeurIPS 2022. Kalinin, McKenna, Upadhyay and Lampert, "Back to square roots:
an optimal bound on the matrix factorization error for multi-epoch differentially private SGD", 2025.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["factor", "noise_weights", "sensitivities"]

Floats = NDArray[np.float64]


def noise_weights(bands: int) -> Floats:
    """Give d_0 … d_{p−1}, how much of each of the last p draws is in a step's noise: 1, −1/2, −1/8 and so on."""
    weights = np.ones(bands)
    for k in range(1, bands):
        weights[k] = weights[k - 1] * (k - 1.5) / k
    return weights


def factor(bands: int, steps: int) -> Floats:
    """Give the first column of C for so many steps: the power series that is the inverse of the noise weights'."""
    weights, column = noise_weights(bands), np.zeros(steps)
    for t in range(steps):
        reach = min(t, bands - 1)
        column[t] = (t == 0) - float(weights[1 : reach + 1] @ column[t - reach : t][::-1])
    return column


def sensitivities(bands: int, *, apart: int, steps: int) -> Floats:
    """How far one sample moves ``C g`` in each step, in units of its clipped gradient: ``[steps]``.

    A sample is in every ``apart``-th batch. All columns of C are non-negative and fall, so the worst sample is
    in the first batch, with the same gradient each time; the squares of the first t add up to the square shift
    of t steps, in units of (C/σ)².

    Parameters
    ----------
    bands, apart, steps : int
        At least 1 each.
    """
    column = factor(bands, steps)
    moved = np.zeros(steps)
    for start in range(0, steps, apart):
        moved[start:] += column[: steps - start]
    return moved
