"""Two groups with more links inside than between: the graphs on which robust rules are tried."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from topology.bounds import Natural, Positive, check_at_least
from topology.errors import InvalidParameter
from topology.graphs.assemble import assemble, check_edge_budget
from topology.graphs.topology import Topology

__all__ = ["dumbbell", "two_worlds"]


def dumbbell(n: Positive, *, beside: Natural = 0) -> Topology:
    """Return two cliques joined by a single edge.

    Parameters
    ----------
    n : int
        Number of nodes, those beside included.
    beside : int
        Further nodes, the last ones, that are linked to everybody.

    Returns
    -------
    Topology
        Undirected; `groups` holds the clique of each node, 2 for those beside.

    Raises
    ------
    InvalidParameter
        If the nodes cannot be split into two cliques of equal size.

    References
    ----------
    He, Karimireddy and Jaggi, "Byzantine-robust decentralized learning via ClippedGossip", 2022.

    Examples
    --------
    >>> from topology import graphs
    >>> graphs.dumbbell(20).number_of_edges
    91
    """
    half = _half("dumbbell", n, beside)
    return _two_cliques(half, beside, [(half - 1, half)], name=f"dumbbell({n})")


def two_worlds(n: Positive, *, links: Positive = 8, beside: Natural = 0) -> Topology:
    """Return two cliques, each node of which is linked to so many nodes of the other.

    The second eigenvalue of the Laplacian is twice `links`, where that is below the clique's size.

    Parameters
    ----------
    n : int
        Number of nodes, those beside included.
    links : int
        Nodes of the other clique that each node is linked to.
    beside : int
        Further nodes, the last ones, that are linked to everybody: each node has so many neighbours more.

    Returns
    -------
    Topology
        Undirected; `groups` holds the clique of each node, 2 for those beside.

    Raises
    ------
    InvalidParameter
        If the nodes cannot be split into two cliques of equal size, or a clique has fewer nodes than `links`.

    References
    ----------
    Gaucher, Dieuleveut and Hendrikx, "Unified breakdown analysis for Byzantine robust gossip", ICML 2025.

    Examples
    --------
    >>> from topology import graphs, spectrum
    >>> round(spectrum.algebraic_connectivity(graphs.two_worlds(26, links=8)), 9)
    16.0
    """
    half, links = _half("two_worlds", n, beside), check_at_least("links", links, 1)
    if links > half:
        raise InvalidParameter("links is more than a clique has nodes", expected=f"at most {half}", got=links)
    between = [(i, half + (i + k) % half) for i in range(half) for k in range(links)]
    return _two_cliques(half, beside, between, name=f"two_worlds({n}, {links})")


def _half(name: str, n: int, beside: int) -> int:
    n, beside = check_at_least("n", n, 2), check_at_least("beside", beside, 0)
    if n - beside < 2 or (n - beside) % 2:
        raise InvalidParameter(
            f"{name} has two cliques of equal size",
            expected="an even number of nodes without those beside, at least 2",
            got=n - beside,
        )
    check_edge_budget(name, n * n)
    return (n - beside) // 2


def _two_cliques(half: int, beside: int, between: list[tuple[int, int]], *, name: str) -> Topology:
    inside = np.array(list(combinations(range(half), 2)), dtype=np.int64).reshape(-1, 2)
    others = np.arange(2 * half)
    further = [np.stack([others, np.full(2 * half, 2 * half + k)], axis=1) for k in range(beside)]
    links = np.concatenate([inside, inside + half, np.array(between, dtype=np.int64), *further])
    groups = np.repeat([0, 1, 2], [half, half, beside]).astype(np.int64)
    return assemble(2 * half + beside, links[:, 0], links[:, 1], name=name, groups=groups)
