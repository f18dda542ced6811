"""EquiTopo: circulants of random hops whose rate of consensus does not depend on the number of nodes."""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy.sparse import csr_array

from topology.bounds import Positive, Share, check_at_least, check_degree, check_number
from topology.graphs.topology import IntArray
from topology.sequences.circulant import Hops, circulant
from topology.sequences.keyed import derive_key, draw, sample_distinct
from topology.sequences.sequence import Row, RuleSequence, from_entries

__all__ = ["equi_dynamic", "equi_static", "partners_in_scan"]


def equi_static(n: Positive, degree: Positive, seed: int, *, directed: bool = True) -> RuleSequence:
    """Return D-EquiStatic or U-EquiStatic: the average of random basis graphs, used in every round.

    The basis graph of hop u has weight (n−1)/n from i to i + u and 1/n on the diagonal.

    Parameters
    ----------
    n : int
        Number of nodes, at least 2.
    degree : int
        Neighbours of every node: that many hops if directed, half as many in both directions if not.
    seed : int
        Draws the hops.
    directed : bool
        Links have a direction: D-EquiStatic, W = (1/M) Σ A(u); else U-EquiStatic, (W + Wᵀ)/2.

    Returns
    -------
    RuleSequence
        Doubly stochastic, period 1; symmetric if undirected.

    Raises
    ------
    ImpossibleDegree
        If the degree is not in 1 … n − 1, or is odd in the undirected case (unless the hop n/2 makes it up).

    Notes
    -----
    The paper draws hops with replacement and keeps a draw whose rate is good enough. Here hops are distinct,
    so that the degree is as asked; the paper's bound holds for sampling without replacement too. Check
    `topology.spectrum.second_eigenvalue_modulus`, and take another seed where it disappoints.

    References
    ----------
    Song, Li, Jin, Shi, Yan, Yin and Yuan, "Communication-efficient topologies for decentralized learning with
    O(1) consensus rate", NeurIPS 2022, equations (3) to (6), Algorithm 1 and Theorems 1 and 2.
    """
    n, degree, seed = check_at_least("n", n, 2), check_at_least("degree", degree, 1), int(seed)
    key = derive_key(seed, 4, int(directed))
    check_degree(n, degree, directed=directed, remedy=", or directed=True")
    if directed:
        hops = [1 + u for u in sample_distinct(key, degree, n - 1)]
        shares = dict.fromkeys(hops, (n - 1) / n / degree)
    else:
        hops = [1 + u for u in sample_distinct(key, degree // 2, (n - 1) // 2)]
        shares = {hop: (n - 1) / n / degree for u in hops for hop in (u, n - u)}
        if degree % 2:
            shares[n // 2] = (n - 1) / n / degree
    kind = "directed" if directed else "undirected"
    return circulant(
        f"equi_static({n}, {degree}, {kind})",
        n,
        partial(_always, shares),
        period=1,
        degree=degree,
        symmetric=not directed,
    )


def _always(hops: Hops, _t: int) -> Hops:
    return hops


def equi_dynamic(n: Positive, seed: int, *, directed: bool = True, eta: Share = 0.5) -> RuleSequence:
    """Return OD-EquiDyn or OU-EquiDyn: one random basis graph a round, one neighbour each.

    Parameters
    ----------
    n : int
        Number of nodes, at least 2.
    seed : int
        With t it fixes the hop (and where pairing starts) of round t; a node finds its neighbour alone, in
        constant time.
    directed : bool
        Links have a direction. OD-EquiDyn: everyone sends to i + v. Else OU-EquiDyn: from a random start,
        nodes i and i + v not yet paired are paired in order; the others rest.
    eta : float
        Share of the basis graph, W = (1 − η) I + η A, above 0 and at most 1. The paper's proof takes ½.

    Returns
    -------
    RuleSequence
        Doubly stochastic, degree 1, random; symmetric if undirected.

    Raises
    ------
    InvalidParameter
        If `eta` is outside (0, 1] or `n` below 2.

    Notes
    -----
    The expected contraction of Σ‖xᵢ − x̄‖² in the directed case is (1 − η)² + η²(1 − 2/n) exactly, which is
    ½ − 1/(2n) at η = ½: half the variance goes in every round whatever the number of nodes.

    References
    ----------
    Song et al., "Communication-efficient topologies for decentralized learning with O(1) consensus rate",
    NeurIPS 2022, Algorithms 2 and 3 with hops drawn from all of 1 … n − 1, Theorems 3 and 4.
    """
    n, seed = check_at_least("n", n, 2), int(seed)
    eta = check_number("eta", eta, gt=0, le=1, remedy="Pass eta=0.5 as in the paper")
    key = derive_key(seed, 5, int(directed))
    share = eta * (n - 1) / n
    if directed:
        return circulant(
            f"equi_dynamic({n}, directed)",
            n,
            partial(_one_hop, n, share, key),
            period=None,
            degree=1,
            expected_contraction=(1 - eta) ** 2 + eta**2 * (1 - 2 / n),
        )
    return RuleSequence(
        name=f"equi_dynamic({n}, undirected)",
        n=n,
        period=None,
        degree=1,
        symmetric=True,
        make=partial(_paired, n, share, key),
        row_rule=partial(_paired_row, n, share, key),
    )


def _hop(n: int, key: int, t: int) -> int:
    return 1 + draw(derive_key(key, t), 0) % (n - 1)


def _one_hop(n: int, share: float, key: int, t: int) -> Hops:
    return {_hop(n, key, t): share}


def partners_in_scan(n: int, hop: int, places: IntArray) -> IntArray:
    """Return the partner of each place when ``0, 1, 2, …`` are paired in turn with place + hop (mod n).

    A place that is taken, or whose partner is, is passed over; who stays alone is its own partner. The
    pattern has a closed form: alternate runs as long as the hop (or as n − hop) pair up.
    """
    if 2 * hop <= n:
        offset, width, run = 0, n, hop
    else:
        offset, width, run = n - hop, 2 * hop - n, n - hop
    inner = places - offset
    forward = inner // run % 2 == 0
    partner: IntArray = np.where(forward, places + run, places - run)
    partner = np.where(forward & (inner + run >= width), places, partner)
    if offset:
        partner = np.where(places < offset, places + hop, partner)
        partner = np.where(places >= hop, places - hop, partner)
    return partner


def _scan(n: int, key: int, t: int, nodes: IntArray) -> IntArray:
    start = draw(derive_key(key, t), 1) % n
    found: IntArray = (partners_in_scan(n, _hop(n, key, t), (nodes - start) % n) + start) % n
    return found


def _paired(n: int, share: float, key: int, t: int) -> csr_array:
    nodes = np.arange(n)
    partners = _scan(n, key, t, nodes)
    paired = partners != nodes
    return from_entries(n, nodes[paired], partners[paired], share)


def _paired_row(n: int, share: float, key: int, t: int, i: int) -> Row:
    j = int(_scan(n, key, t, np.array([i]))[0])
    if i == j:
        return np.array([i]), np.array([1.0])
    weights = np.array([1 - share, share])
    return np.array([min(i, j), max(i, j)]), weights if i < j else weights[::-1]
