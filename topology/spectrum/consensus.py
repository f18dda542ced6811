"""Consensus curves of mixing sequences, and rounds to consensus."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

from topology.bounds import check_at_least, check_number
from topology.sequences.sequence import MixingSequence
from topology.spectrum.eigen import eigenvalues
from topology.spectrum.shifts import circulant_factors

__all__ = [
    "EXACT_NODES",
    "consensus_curve",
    "consensus_distance",
    "expected_consensus_curve",
    "rounds_to_consensus",
]

EXACT_NODES = 4096
"""Up to this many nodes consensus curves are exact; beyond it they are estimated by probing vectors."""

_PROBES = 64
_ROUNDING = 1e-30  # rounding leaves no less of values around 1/n
_EIGENVALUE_NODES = 2048

_Floats = npt.NDArray[np.floating[Any]]


def consensus_distance(X: npt.ArrayLike) -> float:
    """Return ``(1/n) Σ ‖xᵢ − x̄‖²`` of values or rows, one a node.

    Parameters
    ----------
    X : array, shape [n] or [n, dimensions]
    """
    rows = np.asarray(X, dtype=np.float64)
    rows = rows.reshape(len(rows), -1)
    return float(((rows - rows.mean(axis=0)) ** 2).sum() / len(rows))


def consensus_curve(
    sequence: MixingSequence, rounds: int, *, start: int = 0, probes: int = _PROBES, seed: int = 0
) -> _Floats:
    """Return the share of disagreement left after each round.

    Parameters
    ----------
    sequence : MixingSequence
        Its matrices of rounds `start`, `start` + 1, … are multiplied.
    rounds : int
        Number of rounds.
    start : int
        First round to use.
    probes : int
        Random ±1 vectors used if n is above `EXACT_NODES`.
    seed : int
        Draws the probes.

    Returns
    -------
    float64 array, shape [rounds + 1]
        ``c_t = ‖(I − J) W_t … W_1‖²_F / n``, from c₀ = 1 − 1/n: the expected consensus distance of values
        that began independent with variance 1. With doubly stochastic matrices it is
        ``‖W_t … W_1 − J‖²_F / n``.
        Exact, up to rounding, for n ≤ 4,096 and for circulant matrices; 0 from where it is below 1e-30. Else an
        unbiased estimate whose
        relative standard error is at most √(2/probes), and far less while many eigenvalues count.

    Raises
    ------
    InvalidParameter
        If `rounds` or `start` is negative or `probes` below 1.

    References
    ----------
    The estimate: Hutchinson, "A stochastic estimator of the trace of the influence matrix for Laplacian
    smoothing splines", Communications in Statistics 19, 1990.

    Examples
    --------
    >>> from topology import sequences, spectrum
    >>> spectrum.consensus_curve(sequences.base(25, 4), rounds=2).round(12).tolist()
    [0.96, 0.16, 0.0]
    """
    rounds = check_at_least("rounds", rounds, 0)
    steps = _distances(sequence, check_at_least("start", start, 0), check_at_least("probes", probes, 1), seed)
    return np.array([next(steps) for _ in range(rounds + 1)])


def _distances(sequence: MixingSequence, start: int, probes: int, seed: int) -> Iterator[float]:
    n, factors = sequence.n, circulant_factors(sequence)
    if factors is not None:
        yield from _circulant_distances(factors, start)
        return
    if n <= EXACT_NODES:
        P, scale = np.eye(n), n
    else:
        generator = np.random.Generator(np.random.Philox(seed))
        P, scale = generator.choice([-1.0, 1.0], size=(n, probes)), n * probes
    keeps_mean = sequence.stochastic == "doubly"
    P -= P.mean(axis=0)
    t = start
    while (left := float(np.vdot(P, P) / scale)) > _ROUNDING:
        yield left
        P = sequence.matrix(t) @ P
        if not keeps_mean:  # (I − J) W = (I − J) W (I − J), as rows sum to 1
            P -= P.mean(axis=0)
        t += 1
    while True:
        yield 0.0


def _circulant_distances(factors: _Floats, start: int) -> Iterator[float]:
    """The same, from what rounds leave of each Fourier component (`circulant_factors`)."""
    period, n = factors.shape
    components = np.ones(n)
    components[0] = 0.0
    for t in count(start):
        left = float(components.sum() / n)
        yield left if left > _ROUNDING else 0.0
        components *= factors[t % period]


def expected_consensus_curve(sequence: MixingSequence, rounds: int, *, repeats: int = 20) -> _Floats:
    """Return the mean consensus curve of a random sequence.

    Parameters
    ----------
    sequence : MixingSequence
        Usually random; the curve of a periodic one is what it is.
    rounds : int
        Number of rounds.
    repeats : int
        Disjoint stretches of the sequence to average over, if no formula is known.

    Returns
    -------
    float64 array, shape [rounds + 1]
        ``(1 − 1/n) βᵗ`` exactly where `expected_contraction` β is known; else the mean of `repeats` curves.

    Raises
    ------
    InvalidParameter
        If `rounds` is negative or `repeats` below 1.
    """
    rounds, repeats = check_at_least("rounds", rounds, 0), check_at_least("repeats", repeats, 1)
    if sequence.expected_contraction is not None:
        curve: _Floats = (1 - 1 / sequence.n) * sequence.expected_contraction ** np.arange(rounds + 1)
        return curve
    if sequence.period is not None:
        return consensus_curve(sequence, rounds)
    curves = [consensus_curve(sequence, rounds, start=r * rounds, seed=r) for r in range(repeats)]
    mean: _Floats = np.mean(curves, axis=0)
    return mean


def rounds_to_consensus(
    sequence: MixingSequence, tolerance: float = 1e-6, *, limit: int = 100_000
) -> int | None:
    """Return the first t at which the consensus curve is below `tolerance`; None if `limit` comes first.

    Parameters
    ----------
    sequence : MixingSequence
        A random one is followed as its seed draws it.
    tolerance : float
        Threshold on ``c_t`` of `consensus_curve`, above 0.
    limit : int
        Rounds after which to give up. A fixed symmetric matrix on at most 2,048 nodes is solved by its
        eigenvalues, without stepping, and has no such limit.

    Raises
    ------
    InvalidParameter
        If `tolerance` is not positive.

    Examples
    --------
    >>> from topology import graphs, mixing, sequences, spectrum
    >>> ring = sequences.static(mixing.metropolis_hastings(graphs.ring(25)))
    >>> spectrum.rounds_to_consensus(ring, 1e-6)
    267
    """
    tolerance = check_number("tolerance", tolerance, gt=0, remedy="Pass e.g. 1e-6")
    if sequence.period == 1 and sequence.symmetric and sequence.n <= _EIGENVALUE_NODES:
        return _by_eigenvalues(sequence, tolerance)
    for t, left in enumerate(_distances(sequence, 0, _PROBES, 0)):
        if left < tolerance:
            return t
        if t >= limit:
            return None
    return None


def _by_eigenvalues(sequence: MixingSequence, tolerance: float) -> int | None:
    squares = eigenvalues(sequence.matrix(0))
    squares = np.delete(squares, np.argmin(np.abs(squares - 1))) ** 2

    def left(t: int) -> float:
        return float((squares**t).sum() / sequence.n)

    if left(0) < tolerance:
        return 0
    if squares.max() > 1 - 1e-14:
        return None
    high = 1
    while left(high) >= tolerance:
        high *= 2
    return bisect_left(range(high), 1, lo=high // 2, key=lambda t: left(t) < tolerance)
