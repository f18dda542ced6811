"""Sequences that hop by powers: one-peer and k-peer exponential graphs, and any fixed matrix."""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from topology.bounds import Positive, check_at_least
from topology.mixing.checks import check_mixing_matrix, is_symmetric
from topology.sequences.circulant import circulant
from topology.sequences.sequence import RuleSequence

__all__ = ["k_peer_exponential", "one_peer_exponential", "static"]


def static(W: csr_array | npt.ArrayLike, name: str = "static") -> RuleSequence:
    """Return the sequence that uses one mixing matrix in every round.

    Parameters
    ----------
    W : sparse or dense array, shape [n, n]
        Any mixing matrix whose rows sum to 1; see `topology.mixing`.
    name : str
        Its name.

    Raises
    ------
    NotMixingMatrix
        If a row does not sum to 1.

    Examples
    --------
    >>> from topology import graphs, mixing, sequences
    >>> sequences.static(mixing.metropolis_hastings(graphs.ring(8)), name="ring")
    <MixingSequence ring: 8 nodes, degree 2, period 1>
    """
    given = check_mixing_matrix(W, stochastic="rows", nonnegative=False, tolerance=1e-9)
    matrix = given.copy()
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    columns = np.asarray(matrix.sum(axis=0))
    sent = np.bincount(matrix.indices, minlength=matrix.shape[0]) - (matrix.diagonal() != 0)
    return RuleSequence(
        name=name,
        n=matrix.shape[0],
        period=1,
        degree=int(sent.max()),
        make=partial(_same, matrix),
        stochastic="doubly" if np.abs(columns - 1).max() <= 1e-9 else "rows",
        symmetric=is_symmetric(matrix),
    )


def _same(matrix: csr_array, _t: int) -> csr_array:
    return matrix


def one_peer_exponential(n: Positive) -> RuleSequence:
    """Return the sequence in which node i sends to ``i + 2^t`` in round t, with t modulo ⌈log₂ n⌉.

    Parameters
    ----------
    n : int
        Number of nodes, at least 1.

    Returns
    -------
    RuleSequence
        Directed, degree 1, doubly stochastic, period ⌈log₂ n⌉; exact consensus after a period if and only if
        n is a power of two.

    Raises
    ------
    InvalidParameter
        If `n` is below 1.

    References
    ----------
    Ying, Yuan, Chen, Hu, Pan and Yin, "Exponential graph is provably efficient for decentralized deep
    training", NeurIPS 2021, equation (7).
    """
    return _exponential(n, 1, f"one_peer_exponential({n})")


def k_peer_exponential(n: Positive, k: Positive) -> RuleSequence:
    """Return the sequence in which, in round t, node i sends to ``i + j (k+1)^t`` for j = 1 … k.

    Parameters
    ----------
    n : int
        Number of nodes, at least 1.
    k : int
        Most messages a node sends in a round, at least 1.

    Returns
    -------
    RuleSequence
        Directed, degree ≤ k, doubly stochastic with weights 1/(k+1), period ⌈log_{k+1} n⌉; exact consensus
        after a period if n is a power of k + 1. Hops that lead to the same node, or back, are added up.

    Raises
    ------
    InvalidParameter
        If `n` or `k` is below 1.

    References
    ----------
    Takezawa, Sato, Bao, Niwa and Yamada, "Beyond exponential graph: Communication-efficient topologies for
    decentralized learning via finite-time convergence", NeurIPS 2023, where it is a baseline.
    """
    return _exponential(n, k, f"k_peer_exponential({n}, {k})")


def _exponential(n: int, k: int, name: str) -> RuleSequence:
    n, k = check_at_least("n", n, 1), check_at_least("k", k, 1)
    period = 1
    while (k + 1) ** period < n:
        period += 1
    hops = partial(_hops, n, k)
    return circulant(name, n, hops, period=period, degree=max(len(hops(t)) for t in range(period)))


def _hops(n: int, k: int, t: int) -> dict[int, float]:
    """Distance of every hop of round t that leads elsewhere, and its weight."""
    hops: dict[int, float] = {}
    for j in range(1, k + 1):
        distance = j * (k + 1) ** t % n
        if distance:
            hops[distance] = hops.get(distance, 0.0) + 1.0 / (k + 1)
    return hops
