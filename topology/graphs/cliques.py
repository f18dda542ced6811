"""D-Cliques: sparsely linked cliques, each of which together holds representative data."""

from __future__ import annotations

from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt

from topology.bounds import check_at_least, check_choice
from topology.errors import MislabelledNodes
from topology.graphs.assemble import assemble
from topology.graphs.topology import Topology

__all__ = ["BetweenCliques", "clique_skew", "d_cliques", "greedy_swap"]

BetweenCliques = Literal["ring", "small world", "fractal", "fully connected"]

_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]


def d_cliques(
    labels: npt.ArrayLike,
    *,
    clique_size: int = 10,
    between: BetweenCliques = "ring",
    swaps: int = 1000,
    seed: int,
) -> Topology:
    """Return the D-Cliques topology for nodes with the given class labels.

    Parameters
    ----------
    labels : array, shape [n] or [n, classes]
        The class of each node's data (integers from 0), or how many examples of each class it has.
    clique_size : int
        Nodes in a clique, at least 1; the last cliques are one smaller if it does not divide n.
    between : {"ring", "small world", "fractal", "fully connected"}
        How cliques are linked, each pair by a single edge whose ends are nodes with fewest such edges.
        ``small world``: a ring, and either side a random clique at distance 2^i to 2^{i+1} − 1 for every i.
        ``fractal``: groups of `clique_size` cliques all linked, groups of groups again, and so on.
    swaps : int
        Pairs of cliques to try a swap between.
    seed : int
        The same seed gives the same graph on any machine.

    Returns
    -------
    Topology
        Undirected and connected; `groups` holds the clique of each node.

    Raises
    ------
    MislabelledNodes
        If labels are not integers from 0, or counts are negative or all zero for a node.
    InvalidParameter
        If a parameter is out of range.

    References
    ----------
    Bellet, Kermarrec and Lavoie, "D-Cliques: Compensating for data heterogeneity with topology in
    decentralized federated learning", SRDS 2022, Algorithm 1 (greedy swap) and section 3.3 (inter-clique
    topologies).
    """
    generator = np.random.Generator(np.random.Philox(seed))
    counts = _class_counts(labels)
    clique_size = check_at_least("clique_size", clique_size, 1)
    cliques = greedy_swap(counts, clique_size=clique_size, swaps=swaps, generator=generator)
    n = len(counts)
    groups = np.empty(n, dtype=np.int64)
    edges: list[tuple[int, int]] = []
    for number, members in enumerate(cliques):
        groups[members] = number
        edges.extend(combinations(sorted(members.tolist()), 2))
    load = np.zeros(n, dtype=np.int64)
    for one, two in _clique_links(len(cliques), between, clique_size, generator):
        ends = [_least_loaded(cliques[c], load, generator) for c in (one, two)]
        load[ends] += 1
        edges.append((ends[0], ends[1]))
    pairs = np.array(edges, dtype=np.int64).reshape(-1, 2)
    name = f"d_cliques({n}, {clique_size}, {between})"
    return assemble(n, pairs[:, 0], pairs[:, 1], name=name, groups=groups).require_connected()


def _class_counts(labels: npt.ArrayLike) -> _Floats:
    given = np.asarray(labels)
    if given.ndim == 1 and len(given) and np.issubdtype(given.dtype, np.integer) and given.min() >= 0:
        one_hot: _Floats = np.eye(int(given.max()) + 1)[given]
        return one_hot
    if given.ndim == 2 and given.size and np.issubdtype(given.dtype, np.number):
        counts = given.astype(np.float64)
        if np.isfinite(counts).all() and (counts >= 0).all() and (counts.sum(axis=1) > 0).all():
            return counts
    raise MislabelledNodes(
        "labels do not give the classes of each node",
        expected="integers from 0 of shape [n], or counts of shape [n, classes] with some in every row",
        got=f"{given.dtype} of shape {given.shape}",
        remedy="Encode class names as 0, 1, 2, …, or pass a histogram a node",
    )


def clique_skew(counts: _Floats, members: _Ints) -> float:
    """Return ``Σ_y |p_clique(y) − p(y)|``, from 0 (the clique is representative) to 2."""
    inside = counts[members].sum(axis=0)
    overall = counts.sum(axis=0)
    return float(np.abs(inside / inside.sum() - overall / overall.sum()).sum())


def greedy_swap(
    counts: _Floats, *, clique_size: int, swaps: int, generator: np.random.Generator
) -> list[_Ints]:
    """Return cliques of low skew: random ones, improved by swaps of two members.

    Parameters
    ----------
    counts : float64 array, shape [n, classes]
        Examples of each class at each node.
    clique_size : int
        Nodes in a clique.
    swaps : int
        Random pairs of cliques to consider; of all swaps that lower their summed skew, a random one is made.
    generator : numpy.random.Generator

    Returns
    -------
    list of int64 arrays
        The members of each clique, ⌈n / clique_size⌉ of them.

    References
    ----------
    Bellet, Kermarrec and Lavoie, SRDS 2022, Algorithm 1.
    """
    check_at_least("swaps", swaps, 0)
    n = len(counts)
    cliques = np.array_split(generator.permutation(n), -(-n // clique_size))
    overall = counts.sum(axis=0) / counts.sum()
    for _ in range(swaps if len(cliques) > 1 else 0):
        one, two = generator.choice(len(cliques), size=2, replace=False)
        first, second = counts[cliques[one]], counts[cliques[two]]
        change = second[None, :, :] - first[:, None, :]
        skew = _skews(first.sum(axis=0) + change, overall) + _skews(second.sum(axis=0) - change, overall)
        now = _skews(first.sum(axis=0), overall) + _skews(second.sum(axis=0), overall)
        better = np.argwhere(skew < now - 1e-12)
        if len(better):
            i, j = better[generator.integers(len(better))]
            cliques[one][i], cliques[two][j] = cliques[two][j], cliques[one][i]
    return cliques


def _skews(totals: _Floats, overall: _Floats) -> _Floats:
    shares = totals / totals.sum(axis=-1, keepdims=True)
    found: _Floats = np.abs(shares - overall).sum(axis=-1)
    return found


def _least_loaded(members: _Ints, load: _Ints, generator: np.random.Generator) -> int:
    free = members[load[members] == load[members].min()]
    return int(free[generator.integers(len(free))])


def _clique_links(
    count: int, between: BetweenCliques, clique_size: int, generator: np.random.Generator
) -> list[tuple[int, int]]:
    """Pairs of cliques to link, each pair once."""
    check_choice("between", between, BetweenCliques)
    if between == "fully connected":
        return list(combinations(range(count), 2))
    links: set[tuple[int, int]] = set()
    if between in ("ring", "small world"):
        links.update(_ordered(c, (c + 1) % count) for c in range(count) if count > 1)
        if between == "small world":
            for c in range(count):
                distance = 2
                while distance <= count // 2:
                    furthest = min(2 * distance - 1, count // 2)
                    for side in (1, -1):
                        step = int(generator.integers(distance, furthest + 1))
                        links.add(_ordered(c, (c + side * step) % count))
                    distance *= 2
    else:
        groups = [[c] for c in range(count)]
        width = max(clique_size, 2)
        while len(groups) > 1:
            merged = [groups[g : g + width] for g in range(0, len(groups), width)]
            for siblings in merged:
                for one, two in combinations(siblings, 2):
                    ends = (one[generator.integers(len(one))], two[generator.integers(len(two))])
                    links.add(_ordered(*ends))
            groups = [[c for group in siblings for c in group] for siblings in merged]
    return sorted(link for link in links if link[0] != link[1])


def _ordered(one: int, two: int) -> tuple[int, int]:
    return (one, two) if one < two else (two, one)
