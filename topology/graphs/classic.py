"""Graphs given by a formula: rings, grids, cubes, trees, and the static exponential graph."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from topology.bounds import Natural, Positive, check_at_least
from topology.errors import InvalidParameter
from topology.graphs.assemble import assemble, check_edge_budget
from topology.graphs.topology import IntArray, Topology

__all__ = ["complete", "exponential", "hypercube", "path", "ring", "star", "torus", "tree"]


def path(n: Positive) -> Topology:
    """Return the path on `n` nodes, each linked to the next.

    Parameters
    ----------
    n : int
        Number of nodes, at least 1.

    Returns
    -------
    Topology
        Undirected, with n − 1 edges.

    Raises
    ------
    InvalidParameter
        If `n` is below 1.
    """
    n = check_at_least("n", n, 1)
    nodes = np.arange(n - 1)
    return assemble(n, nodes, nodes + 1, name=f"path({n})")


def ring(n: Positive) -> Topology:
    """Return the cycle on `n` nodes.

    Parameters
    ----------
    n : int
        Number of nodes, at least 1. Two nodes share a single edge, one node has none.

    Returns
    -------
    Topology
        Undirected, 2-regular for n ≥ 3.

    Raises
    ------
    InvalidParameter
        If `n` is below 1.

    Examples
    --------
    >>> from topology import graphs
    >>> graphs.ring(16).max_degree
    2
    """
    n = check_at_least("n", n, 1)
    nodes = np.arange(n if n > 2 else n - 1)
    return assemble(n, nodes, (nodes + 1) % n, name=f"ring({n})")


def torus(shape: Sequence[Positive]) -> Topology:
    """Return the grid of the given shape, wrapped around in every dimension.

    Parameters
    ----------
    shape : sequence of int
        Length of each dimension, each at least 1. Nodes are numbered in row-major order.

    Returns
    -------
    Topology
        Undirected. A dimension of length 3 or more gives every node two neighbours, length 2 gives one, and length
        1 none.

    Raises
    ------
    InvalidParameter
        If the shape is empty or a length is below 1.
    """
    lengths = tuple(check_at_least("every length of shape", length, 1) for length in shape)
    if not lengths:
        raise InvalidParameter(
            "shape is empty", expected="at least one length", got=shape, remedy="Pass e.g. shape=(5, 5)"
        )
    n = prod(lengths)
    check_edge_budget("torus", 2 * n * len(lengths))
    nodes = np.arange(n).reshape(lengths)
    ends: list[tuple[IntArray, IntArray]] = []
    for axis, length in enumerate(lengths):
        if length == 1:
            continue
        here = nodes if length > 2 else np.take(nodes, [0], axis=axis)
        after = np.roll(nodes, -1, axis=axis)
        after = after if length > 2 else np.take(after, [0], axis=axis)
        ends.append((here.ravel(), after.ravel()))
    sources = np.concatenate([s for s, _ in ends]) if ends else np.empty(0, dtype=np.int64)
    targets = np.concatenate([t for _, t in ends]) if ends else np.empty(0, dtype=np.int64)
    positions = np.stack(np.unravel_index(np.arange(n), lengths), axis=1).astype(np.float64)
    return assemble(n, sources, targets, name=f"torus({'×'.join(map(str, lengths))})", positions=positions)


def hypercube(dimension: Natural) -> Topology:
    """Return the hypercube: ``2**dimension`` nodes, linked where their numbers differ in one bit.

    Parameters
    ----------
    dimension : int
        Number of dimensions, and of neighbours of every node; at least 0.

    Returns
    -------
    Topology
        Undirected, regular.

    Raises
    ------
    InvalidParameter
        If `dimension` is negative.
    TooLarge
        If the cube has more edges than a topology can hold.
    """
    d = check_at_least("dimension", dimension, 0)
    check_edge_budget(f"hypercube({d})", d * 2 ** min(d, 40))
    nodes = np.arange(2**d)
    sources = np.concatenate([nodes[(nodes >> bit) & 1 == 0] for bit in range(d)]) if d else nodes[:0]
    bits = np.repeat(2 ** np.arange(d), 2 ** max(d - 1, 0))
    return assemble(2**d, sources, sources | bits, name=f"hypercube({d})")


def complete(n: Positive) -> Topology:
    """Return the complete graph: everyone is everyone's neighbour.

    Parameters
    ----------
    n : int
        Number of nodes, at least 1.

    Returns
    -------
    Topology
        Undirected, (n − 1)-regular.

    Raises
    ------
    InvalidParameter
        If `n` is below 1.
    TooLarge
        If n(n − 1) edges are more than a topology can hold (n above 46,341).
    """
    n = check_at_least("n", n, 1)
    check_edge_budget(f"complete({n})", n * (n - 1))
    indices = np.broadcast_to(np.arange(n, dtype=np.int32), (n, n))[~np.eye(n, dtype=bool)]
    return Topology(
        name=f"complete({n})",
        indptr=np.arange(n + 1, dtype=np.int32) * np.int32(n - 1),
        indices=np.ascontiguousarray(indices),
    )


def star(n: Positive) -> Topology:
    """Return the star: node 0 is everyone's only neighbour.

    Parameters
    ----------
    n : int
        Number of nodes with the centre, at least 1.

    Returns
    -------
    Topology
        Undirected, with n − 1 edges.

    Raises
    ------
    InvalidParameter
        If `n` is below 1.
    """
    n = check_at_least("n", n, 1)
    leaves = np.arange(1, n)
    return assemble(n, np.zeros_like(leaves), leaves, name=f"star({n})")


def tree(branching: Positive, depth: Natural) -> Topology:
    """Return the balanced tree in which every inner node has `branching` children.

    Parameters
    ----------
    branching : int
        Children of every node above the last level, at least 1.
    depth : int
        Levels below the root, at least 0.

    Returns
    -------
    Topology
        Undirected, with Σ branching^l nodes for l = 0 … depth, numbered level by level from the root.

    Raises
    ------
    InvalidParameter
        If a parameter is below its least value.
    """
    b, depth = check_at_least("branching", branching, 1), check_at_least("depth", depth, 0)
    n = depth + 1 if b == 1 else (b ** (depth + 1) - 1) // (b - 1)
    check_edge_budget(f"tree({b}, {depth})", 2 * (n - 1))
    children = np.arange(1, n)
    return assemble(n, (children - 1) // b, children, name=f"tree({b}, {depth})")


def exponential(n: Positive) -> Topology:
    """Return the static exponential graph: node i sends to i + 1, i + 2, i + 4, … (mod n).

    Parameters
    ----------
    n : int
        Number of nodes, at least 1.

    Returns
    -------
    Topology
        Directed, ⌈log₂ n⌉-regular, in and out.

    Raises
    ------
    InvalidParameter
        If `n` is below 1.

    Notes
    -----
    With uniform weights 1/(1 + ⌈log₂ n⌉) its spectral gap is 2/(1 + ⌈log₂ n⌉) for even n, and larger for
    odd n.

    References
    ----------
    Ying, Yuan, Chen, Hu, Pan and Yin, "Exponential graph is provably efficient for decentralized deep
    training", NeurIPS 2021, equation (5).
    """
    n = check_at_least("n", n, 1)
    hops = 2 ** np.arange((n - 1).bit_length())
    sources = np.repeat(np.arange(n), len(hops))
    targets = (sources + np.tile(hops, n)) % n
    return assemble(n, sources, targets, name=f"exponential({n})", directed=True)
