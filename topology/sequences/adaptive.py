"""Adaptive matchings: pairs over fast links, and over others when those met lately do not connect the network."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from topology.bounds import Positive, check_at_least, check_choice, check_number
from topology.errors import InvalidParameter, TooLarge
from topology.graphs.topology import IntArray
from topology.sequences.keyed import KeyedPermutation, derive_key, draw_all
from topology.sequences.sequence import Row, RuleSequence, from_groups

__all__ = [
    "MEMORY",
    "Matching",
    "adaptive_matching",
    "matching_by_proposals",
    "maximum_matching",
    "speeds_of_pairs",
]

MEMORY = 256
"""Rounds after which all meetings are forgotten, so that anyone finds any round in at most as many steps."""

_LARGEST = {"maximum": 128, "proposals": 2048}
_KEPT = 3

Matching = Literal["maximum", "proposals"]
_Links: TypeAlias = NDArray[np.bool_]
_Floats: TypeAlias = NDArray[np.float64]


def adaptive_matching(
    bandwidth: ArrayLike,
    threshold: float | None = None,
    recent: Positive = 10,
    matching: Matching = "maximum",
    seed: int = 0,
) -> RuleSequence:
    """Return the matchings of SAPS: one partner a round, over fast links while these keep the network connected.

    If the pairs that met within the last `recent` rounds connect all nodes, the candidates of a round are the
    links faster than `threshold`; otherwise they are the links not used within these rounds, whatever their
    speed. A random matching of the candidates is drawn, and who is left over is matched at random among itself.
    Pairs average by halves.

    Parameters
    ----------
    bandwidth : array, shape [n, n]
        Of the link from i to j, in any unit; a pair is as fast as the slower of its two directions.
    threshold : float, optional
        Bandwidth above which a link is fast, in the same unit; the median of all pairs if left out.
    recent : int
        Rounds for which a meeting counts.
    matching : {"maximum", "proposals"}
        ``"maximum"``: as many pairs of candidates as there can be, by Edmonds' blossoms. ``"proposals"``: every
        node proposes to the candidate of highest random priority, mutual proposals are pairs, and the others go
        on; a node needs to know its own links only, and some pairs fewer are made.
    seed : int
        With t it fixes the matching of round t.

    Returns
    -------
    RuleSequence
        Symmetric, degree 1, random. When n is odd, one node rests each round.

    Raises
    ------
    InvalidParameter
        If the matrix is not square, or holds anything but numbers of at least 0 off its diagonal.
    TooLarge
        If there are more than 128 nodes, or 2,048 with proposals.

    Notes
    -----
    Both ways to match give a uniform perfect matching where all pairs are candidates, because priorities are
    exchangeable; over such matchings ``E[WᵀW]`` has the second eigenvalue ρ² = (n − 2)/(2(n − 1)).

    A matching depends on those before it. Meetings are forgotten every 256 rounds, so that whoever joins late
    finds its round without going through all before; a few rounds then use slow links, as at first.

    Weights of links are random and distinct, so the best maximum matching is unique, whatever the library's order.

    References
    ----------
    Tang, Shi, Li and Chu, "GossipFL: A decentralized federated learning framework with sparsified and adaptive
    communication", IEEE Transactions on Parallel and Distributed Systems 34(3), 2023, algorithms 2 and 3. Edmonds,
    "Paths, trees, and flowers", Canadian Journal of Mathematics 17, 1965. Proposals: Hoepman, "Simple distributed
    weighted matchings", 2004.

    Examples
    --------
    >>> import numpy as np
    >>> from topology import sequences
    >>> links = np.random.default_rng(0).uniform(0, 5, (8, 8))
    >>> pairs = sequences.adaptive_matching(links, threshold=3.0, seed=1)
    >>> partner = int(pairs.neighbours(7, 3)[0])
    >>> pairs.neighbours(7, partner).tolist()
    [3]
    """
    speeds = speeds_of_pairs(bandwidth)
    n = len(speeds)
    check_choice("matching", matching, Matching)
    if n > _LARGEST[matching]:
        raise TooLarge(
            f"{matching} matchings of so many nodes take too long",
            expected=f"at most {_LARGEST[matching]} nodes",
            got=n,
            remedy='Pass matching="proposals"' if n <= _LARGEST["proposals"] else "Use random_matching",
        )
    pairs = speeds[np.triu_indices(n, 1)]
    if threshold is None:
        threshold = float(np.median(pairs)) if len(pairs) else 0.0
    threshold = check_number("threshold", threshold, ge=0)
    meetings = _Meetings(
        n=n,
        fast=speeds > threshold,
        recent=check_at_least("recent", recent, 1),
        matching=matching,
        key=derive_key(int(seed), 11),
    )
    mark = hashlib.sha256(speeds.astype("<f8").tobytes()).hexdigest()[:16]
    return RuleSequence(
        name=f"adaptive_matching({n}, links {mark}, above {threshold:g}, {recent} rounds, {matching})",
        n=n,
        period=None,
        degree=min(1, n - 1),
        symmetric=True,
        make=meetings.matrix,
        row_rule=meetings.row,
    )


def speeds_of_pairs(bandwidth: ArrayLike) -> _Floats:
    """Bandwidth of each pair, float64 [n, n], symmetric: that of the slower direction; zero on the diagonal.

    Raises
    ------
    InvalidParameter
        If the matrix is not square, or holds anything but numbers of at least 0 off its diagonal.
    """
    given = np.array(bandwidth, dtype=np.float64)
    if given.ndim != 2 or given.shape[0] != given.shape[1] or not len(given):
        raise InvalidParameter(
            "bandwidths are a square matrix", expected="[n, n]: from each node to each", got=given.shape
        )
    np.fill_diagonal(given, 0.0)
    wrong = ~(np.isfinite(given) & (given >= 0))
    if wrong.any():
        i, j = (int(place) for place in np.argwhere(wrong)[0])
        raise InvalidParameter(
            f"the bandwidth from node {i} to node {j} is not one",
            expected="a number of at least 0",
            got=float(given[i, j]),
        )
    return np.minimum(given, given.T)


def maximum_matching(candidates: _Links, key: int) -> IntArray:
    """Return a random matching of as many candidates as there can be: the partner of each node, or itself.

    Parameters
    ----------
    candidates : bool array, shape [n, n]
        Symmetric.
    key : int
        Fixes the draw.
    """
    import networkx as nx

    n = len(candidates)
    i, j = np.nonzero(np.triu(candidates, 1))
    weights = draw_all(key, i * n + j) >> np.uint64(11)
    graph = nx.Graph()
    graph.add_weighted_edges_from(zip(i.tolist(), j.tolist(), weights.tolist(), strict=True))
    return _partners(n, np.array(list(nx.max_weight_matching(graph, maxcardinality=True)), dtype=np.int64))


def matching_by_proposals(candidates: _Links, key: int) -> IntArray:
    """Return a random matching to which no candidate can be added: the partner of each node, or itself.

    Every link has a random priority that both its ends know. A node proposes over its best candidate link; two
    nodes that propose to each other are a pair, and no candidates for others any more. That takes O(log n) turns.

    Parameters
    ----------
    candidates : bool array, shape [n, n]
        Symmetric.
    key : int
        Fixes the priorities.
    """
    n = len(candidates)
    nodes = np.arange(n)
    low, high = np.minimum(nodes[:, None], nodes), np.maximum(nodes[:, None], nodes)
    priorities = (draw_all(key, low * n + high) >> np.uint64(1)).astype(np.int64) + 1
    open_links = np.where(candidates & ~np.eye(n, dtype=bool), priorities, 0)
    partners = nodes.copy()
    while open_links.any():
        proposed = open_links.argmax(axis=1)
        asks = open_links.max(axis=1) > 0
        mutual = asks & (proposed[proposed] == nodes) & asks[proposed]
        partners[mutual] = proposed[mutual]
        open_links[mutual] = 0
        open_links[:, mutual] = 0
    return partners


def _partners(n: int, pairs: IntArray) -> IntArray:
    partners = np.arange(n)
    if len(pairs):
        partners[pairs[:, 0]], partners[pairs[:, 1]] = pairs[:, 1], pairs[:, 0]
    return partners


_MATCHINGS = {"maximum": maximum_matching, "proposals": matching_by_proposals}


@dataclass(frozen=True, eq=False, kw_only=True)
class _Meetings:
    """Who meets whom in each round, which depends on who met whom before."""

    n: int
    fast: _Links
    recent: int
    matching: Matching
    key: int
    known: OrderedDict[int, list[IntArray]] = field(default_factory=OrderedDict)

    def partners(self, t: int) -> IntArray:
        """The partner of each node in round t; itself if it rests."""
        span, place = divmod(t, MEMORY)
        met = self.known.get(span, [])
        if place >= len(met):
            met = list(met)  # a list that others read is not changed: peers compute in threads
            while place >= len(met):
                met.append(self._next(met, span * MEMORY + len(met)))
            self.known[span] = met
            self.known.move_to_end(span)
            while len(self.known) > _KEPT:
                self.known.popitem(last=False)
        return met[place]

    def matrix(self, t: int) -> csr_array:
        partners = self.partners(t)
        first = np.flatnonzero(np.arange(self.n) < partners)
        return from_groups(self.n, [np.stack((first, partners[first]), axis=1)])

    def row(self, t: int, i: int) -> Row:
        j = int(self.partners(t)[i])
        if i == j:
            return np.array([i]), np.array([1.0])
        return np.array([min(i, j), max(i, j)]), np.array([0.5, 0.5])

    def _next(self, met: list[IntArray], t: int) -> IntArray:
        key, nodes = derive_key(self.key, t), np.arange(self.n)
        used = np.eye(self.n, dtype=bool)
        for partners in met[-self.recent :]:
            used[nodes, partners] = True
        connected = connected_components(csr_array(used), directed=False, return_labels=False) == 1
        partners = _MATCHINGS[self.matching](self.fast if connected else ~used, key)
        left = np.flatnonzero(partners == nodes)
        order = left[KeyedPermutation(len(left), derive_key(key, 1)).backward()] if len(left) else left
        pairs = order[: len(order) // 2 * 2].reshape(-1, 2)
        partners[pairs[:, 0]], partners[pairs[:, 1]] = pairs[:, 1], pairs[:, 0]
        return partners
