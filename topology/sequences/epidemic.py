"""Epidemic learning: each round a fresh random graph, with an oracle or by local choice."""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np
from scipy.sparse import csr_array

from topology.bounds import Positive, check_at_least, check_choice, check_degree
from topology.graphs.topology import IntArray
from topology.sequences.keyed import KeyedPermutation, derive_key, draw_all, sample_all, sample_distinct
from topology.sequences.sequence import Row, RuleSequence, from_entries

__all__ = ["epidemic"]

Mode = Literal["oracle", "local"]


def epidemic(n: Positive, s: Positive, seed: int, mode: Mode = "oracle") -> RuleSequence:
    """Return the random sequences of epidemic learning: uniform averages of own and received models.

    Parameters
    ----------
    n : int
        Number of nodes, at least 2.
    s : int
        Models each node sends in a round, from 1 to n − 1.
    seed : int
        With t it fixes the graph of round t.
    mode : {"oracle", "local"}
        A regular graph, or everyone's own choice. ``"oracle"``: a fresh s-regular undirected graph, so everyone
        receives s models too. ``"local"``: each node picks s distinct others by itself; how many it receives
        varies.

    Returns
    -------
    RuleSequence
        Degree s, random. Oracle: symmetric and doubly stochastic. Local: rows sum to 1, columns do in
        expectation only.

    Raises
    ------
    ImpossibleDegree
        If s is not in 1 … n − 1, or n·s is odd in oracle mode.
    InvalidParameter
        If `mode` is neither, or n is below 2.

    Notes
    -----
    The expected contraction of Σ‖xᵢ − x̄‖² is β = (1 − s/(n−1))/(s+1) with the oracle, and
    β = (1 − (1 − s/(n−1))ⁿ)/s − 1/(n−1) in local mode.

    With the oracle the graph of a round is a circulant with random hops under a pseudo-random relabelling, so
    that a node finds its neighbours alone in time that grows with s only. Every pair is as likely to be
    linked as any other, which gives β exactly; it is not uniform over all s-regular graphs.

    In local mode a node knows alone whom it sends to (``recipients``, in time s²). Whom it hears from
    (``neighbours``) is by definition the others' choice: a real peer learns it from the messages that come.
    Since choices here are a function of the seed, ``neighbours`` computes everyone's, in time n·s².

    References
    ----------
    De Vos, Farhadkhani, Guerraoui, Kermarrec, Pires and Sharma, "Epidemic learning: Boosting decentralized
    learning with randomized communication", NeurIPS 2023, Algorithms 1 to 3 and Lemma 1.
    """
    n, s, seed = check_at_least("n", n, 2), check_at_least("s", s, 1), int(seed)
    check_choice("mode", mode, Mode)
    check_degree(n, s, directed=mode == "local", name="s", remedy=", or mode='local'")
    if mode == "local":
        return _local(n, s, derive_key(seed, 3))
    return _oracle(n, s, derive_key(seed, 2))


def _oracle(n: int, s: int, key: int) -> RuleSequence:
    return RuleSequence(
        name=f"epidemic({n}, {s}, oracle)",
        n=n,
        period=None,
        degree=s,
        symmetric=True,
        expected_contraction=(1 - s / (n - 1)) / (s + 1),
        make=partial(_oracle_matrix, n, s, key),
        row_rule=partial(_oracle_row, n, s, key),
    )


def _oracle_hops(n: int, s: int, key: int) -> list[int]:
    """Hops of a circulant of degree s, both ways, and half way round where s is odd."""
    forward = [1 + hop for hop in sample_distinct(derive_key(key, 1), s // 2, (n - 1) // 2)]
    return forward + [n - hop for hop in forward] + ([n // 2] if s % 2 else [])


def _oracle_matrix(n: int, s: int, key: int, t: int) -> csr_array:
    key = derive_key(key, t)
    order = KeyedPermutation(n, key).backward()
    hops = _oracle_hops(n, s, key)
    columns = np.concatenate([np.roll(order, -hop) for hop in hops])
    return from_entries(n, np.tile(order, len(hops)), columns, 1.0 / (s + 1))


def _oracle_row(n: int, s: int, key: int, t: int, i: int) -> Row:
    key = derive_key(key, t)
    places = KeyedPermutation(n, key)
    here = places(i)
    nodes = [i] + [places.inverse((here + hop) % n) for hop in _oracle_hops(n, s, key)]
    return np.array(sorted(nodes)), np.full(s + 1, 1.0 / (s + 1))


def _local(n: int, s: int, key: int) -> RuleSequence:
    return RuleSequence(
        name=f"epidemic({n}, {s}, local)",
        n=n,
        period=None,
        degree=s,
        stochastic="rows",
        expected_contraction=(1 - (1 - s / (n - 1)) ** n) / s - 1 / (n - 1),
        make=partial(_local_matrix, n, s, key),
        recipients_rule=partial(_local_recipients, n, s, key),
    )


def _local_matrix(n: int, s: int, key: int, t: int) -> csr_array:
    senders = np.repeat(np.arange(n), s)
    keys = draw_all(derive_key(key, t), np.arange(n))
    receivers = sample_all(keys, s, n - 1).ravel()
    receivers += receivers >= senders
    shares = 1.0 / (1 + np.bincount(receivers, minlength=n))
    return from_entries(n, receivers, senders, shares[receivers])


def _local_recipients(n: int, s: int, key: int, t: int, i: int) -> IntArray:
    own = int(draw_all(derive_key(key, t), i))
    return np.array(sorted(j + (j >= i) for j in sample_distinct(own, s, n - 1)), dtype=np.int64)
