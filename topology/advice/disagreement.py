"""Lifetimes of disagreement on a topology, read off its consensus curve."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from topology.sequences import MixingSequence
from topology.spectrum import MixingRate, mixing_rate, second_eigenvalue_modulus

__all__ = ["lifetimes", "rate_kept_by", "rate_of"]


def lifetimes(curve: NDArray[np.float64], rate: MixingRate) -> tuple[float, float]:
    """Return S and H of a consensus curve: the sums over all t of ``c_t / c₀`` and of its root.

    Past its end the curve is continued at the worst case of `rate`, which for doubly stochastic matrices of a
    fixed period bounds it from above.

    Parameters
    ----------
    curve : float64 [rounds + 1]
        From `topology.spectrum.consensus_curve`.
    rate : MixingRate
        With p above 0.
    """
    if curve[0] <= 0:
        return 1.0, 1.0
    left = np.maximum(curve / curve[0], 0.0)
    slowest = max(1 - rate.p, 0.0)
    # The last `rounds` points repeat, each time smaller: a geometric series for either sum.
    repeated = left[-rate.rounds :]
    tail = slowest / (1 - slowest) * repeated.sum()
    root_tail = slowest**0.5 / (1 - slowest**0.5) * np.sqrt(repeated).sum()
    return float(left.sum() + tail), float(np.sqrt(left).sum() + root_tail)


def rate_of(sequence: MixingSequence) -> MixingRate:
    """Return how a sequence mixes in the worst case, whatever its size.

    As `topology.spectrum.mixing_rate`; that of a symmetric matrix comes from its second eigenvalue, which is
    found even where the gap is as small as that of a long ring.

    Raises
    ------
    SolverFailed
        If the gap of a large matrix is too small to resolve.
    """
    if sequence.period == 1 and sequence.symmetric:
        left = second_eigenvalue_modulus(sequence.matrix(0)) ** 2
        return MixingRate(p=max(1 - left, 0.0), rounds=1, kind="exact")
    return mixing_rate(sequence)


def rate_kept_by(curve: NDArray[np.float64], rate: MixingRate) -> MixingRate:
    """`rate`, or the largest below it that the curve keeps: ``c_{kτ} ≤ (1 − p)^k c₀`` for all k it covers.

    An exact rate is kept by any curve; one estimated from other rounds may not be.
    """
    spans = np.arange(rate.rounds, len(curve), rate.rounds)
    spans = spans[curve[spans] > 1e-20]
    if rate.kind == "exact" or not len(spans) or curve[0] <= 0:
        return rate
    kept = 1 - float(((curve[spans] / curve[0]) ** (rate.rounds / spans)).max())
    return rate if kept >= rate.p else replace(rate, p=max(kept, 0.0))
