"""Random matchings: every round each node averages with one random other."""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy.sparse import csr_array

from topology.bounds import Positive, check_at_least
from topology.sequences.keyed import KeyedPermutation, derive_key
from topology.sequences.sequence import Row, RuleSequence, from_groups

__all__ = ["random_matching"]


def random_matching(n: Positive, seed: int) -> RuleSequence:
    """Return the sequence of fresh random perfect matchings; pairs average by halves.

    Parameters
    ----------
    n : int
        Number of nodes, at least 1. When it is odd, one random node rests each round.
    seed : int
        With t it fixes the matching of round t. A node finds its partner alone, in constant time.

    Returns
    -------
    RuleSequence
        Symmetric, degree 1, random.

    Raises
    ------
    InvalidParameter
        If `n` is below 1.

    Notes
    -----
    The expected variance after a round is (n/2 − 1)/(n − 1) of what it was for even n, and ½ for odd n; two
    matchings make a cycle in which everyone takes part twice, with ratio ¼.

    References
    ----------
    Boyd, Ghosh, Prabhakar and Shah, "Randomized gossip algorithms", IEEE Transactions on Information Theory
    52, 2006. Jelasity, Montresor and Babaoglu, "Gossip-based aggregation in large dynamic networks", ACM TOCS
    23, 2005, section 3.

    Examples
    --------
    >>> from topology import sequences
    >>> pairs = sequences.random_matching(1000, seed=1)
    >>> partner = int(pairs.neighbours(7, 3)[0])
    >>> pairs.neighbours(7, partner).tolist()
    [3]
    """
    n, seed = check_at_least("n", n, 1), int(seed)
    key = derive_key(seed, 1)
    return RuleSequence(
        name=f"random_matching({n})",
        n=n,
        period=None,
        degree=min(1, n - 1),
        symmetric=True,
        expected_contraction=_contraction(n),
        make=partial(_matrix, n, key),
        row_rule=partial(_row, n, key),
    )


def _contraction(n: int) -> float | None:
    if n < 2:
        return None
    return (n / 2 - 1) / (n - 1) if n % 2 == 0 else 0.5


def _matrix(n: int, key: int, t: int) -> csr_array:
    order = KeyedPermutation(n, derive_key(key, t)).backward()
    return from_groups(n, [order[: n // 2 * 2].reshape(-1, 2)])


def _row(n: int, key: int, t: int, i: int) -> Row:
    places = KeyedPermutation(n, derive_key(key, t))
    other = places(i) ^ 1
    if other >= n:
        return np.array([i]), np.array([1.0])
    j = places.inverse(other)
    return np.array([min(i, j), max(i, j)]), np.array([0.5, 0.5])
