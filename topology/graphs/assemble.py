"""Assembly of a `Topology` from lists of edges: the one place where edges are checked and compressed."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

import numpy as np

from topology.errors import DuplicateEdge, SelfLoop, TooLarge, UnknownNode
from topology.graphs.topology import FloatArray, IntArray, Topology

__all__ = [
    "LARGEST_EDGE_COUNT",
    "assemble",
    "check_edge_budget",
    "index_dtype",
    "largest_component",
    "subgraph",
]

LARGEST_EDGE_COUNT = 2**31 - 1
"""Directed edges a topology may hold: the range of 32-bit indices of compressed rows."""


def check_edge_budget(name: str, directed_edges: int) -> None:
    """Raise `TooLarge`, before anything is allocated, if that many directed edges cannot be held."""
    if directed_edges > LARGEST_EDGE_COUNT:
        raise TooLarge(
            f"{name} has too many edges",
            expected=f"at most {LARGEST_EDGE_COUNT:,} directed edges",
            got=f"{directed_edges:,}",
            remedy="Take fewer nodes or a sparser graph",
        )


def index_dtype(n: int) -> type[np.int32] | type[np.int64]:
    """Return the integer type for node numbers below `n`."""
    return np.int32 if n <= LARGEST_EDGE_COUNT else np.int64


def assemble(
    n: int,
    sources: IntArray,
    targets: IntArray,
    *,
    name: str,
    directed: bool = False,
    weights: FloatArray | None = None,
    positions: FloatArray | None = None,
    labels: tuple[Hashable, ...] | None = None,
    groups: IntArray | None = None,
    merge_duplicates: bool = False,
) -> Topology:
    """Compress a list of edges.

    Parameters
    ----------
    n : int
        Number of nodes.
    sources, targets : integer arrays, shape [edges]
        The ends of each edge. An undirected edge is given once, in either order.
    merge_duplicates : bool
        Keep the first of equal edges instead of raising.

    Raises
    ------
    SelfLoop
        If an edge has both ends at one node.
    DuplicateEdge
        If an edge appears twice, unless `merge_duplicates`.
    UnknownNode
        If an end is not in ``0 … n-1``.
    """
    sources, targets = np.asarray(sources), np.asarray(targets)
    _check_ends(n, sources, targets, name)
    check_edge_budget(name, len(sources) * (1 if directed else 2))
    if not directed:
        smaller, larger = np.minimum(sources, targets), np.maximum(sources, targets)
        sources, targets = np.concatenate((larger, smaller)), np.concatenate((smaller, larger))
        weights = None if weights is None else np.concatenate((weights, weights))
    indptr, indices, order = _compress(n, sources, targets, need_order=weights is not None)
    weights = None if weights is None or order is None else weights[order]
    rows = np.repeat(np.arange(n, dtype=indices.dtype), np.diff(indptr))
    repeated = np.zeros(len(indices), dtype=bool)
    repeated[1:] = (indices[1:] == indices[:-1]) & (rows[1:] == rows[:-1])
    if repeated.any():
        if not merge_duplicates:
            place = int(repeated.argmax())
            raise DuplicateEdge(
                f"{name} has an edge twice",
                expected="each edge once" + ("" if directed else " (i–j and j–i are one undirected edge)"),
                got=f"{int(repeated.sum()) // (1 if directed else 2)} repeated, the first between nodes "
                f"{int(rows[place])} and {int(indices[place])}",
                remedy="Remove the repetition, or pass merge_duplicates=True",
            )
        indices, rows = indices[~repeated], rows[~repeated]
        weights = None if weights is None else weights[~repeated]
        indptr = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=n)))).astype(indptr.dtype)
    return Topology(
        name=name,
        indptr=indptr,
        indices=indices,
        directed=directed,
        weights=weights,
        positions=positions,
        labels=labels,
        groups=groups,
    )


def _check_ends(n: int, sources: IntArray, targets: IntArray, name: str) -> None:
    for ends in (sources, targets):
        if len(ends) and (int(ends.min()) < 0 or int(ends.max()) >= n):
            wrong = ends[(ends < 0) | (ends >= n)]
            raise UnknownNode(
                f"{name} has an edge to a node that does not exist",
                expected=f"nodes 0 … {n - 1}",
                got=int(wrong[0]),
                remedy="Number nodes from 0, or pass n as the number of nodes",
            )
    loops = sources == targets
    if loops.any():
        raise SelfLoop(
            f"{name} has self-loops",
            expected="edges between two different nodes",
            got=f"{int(loops.sum())}, the first at node {int(sources[loops.argmax()])}",
            remedy="Remove them: a node's own weight belongs to the mixing matrix",
        )


def _compress(
    n: int, sources: IntArray, targets: IntArray, *, need_order: bool
) -> tuple[IntArray, IntArray, IntArray | None]:
    dtype = index_dtype(n)
    keys: IntArray = sources.astype(np.int64) * n + targets
    order: IntArray | None = np.argsort(keys, kind="stable") if need_order else None
    if order is None:
        keys.sort()
    else:
        keys = keys[order]
    indptr: IntArray = np.searchsorted(keys, np.arange(n + 1, dtype=np.int64) * n).astype(dtype)
    indices: IntArray = (keys % n).astype(dtype)
    return indptr, indices, order


def largest_component(topology: Topology) -> Topology:
    """Return the largest (strongly) connected part, its nodes renumbered in their old order.

    Labels, positions, weights and groups are kept; without labels, the old numbers become the labels.
    """
    count, member = topology.components
    if count == 1:
        return topology
    kept = np.flatnonzero(member == int(np.bincount(member).argmax()))
    found = subgraph(topology, kept, name=f"largest component of {topology.name}")
    return found if found.labels else replace(found, labels=tuple(kept.tolist()))


def subgraph(topology: Topology, nodes: IntArray, *, name: str) -> Topology:
    """Return the graph on `nodes`, which are numbered in their order there, with all that nodes and edges have."""
    number = np.full(topology.n, -1, dtype=topology.indices.dtype)
    number[nodes] = np.arange(len(nodes))
    sources = np.repeat(np.arange(topology.n), topology.degrees)
    kept = (number[sources] >= 0) & (number[topology.indices] >= 0)
    if not topology.directed:
        kept &= sources < topology.indices
    return assemble(
        len(nodes),
        number[sources[kept]],
        number[topology.indices[kept]],
        name=name,
        directed=topology.directed,
        weights=None if topology.weights is None else topology.weights[kept],
        positions=None if topology.positions is None else topology.positions[nodes],
        labels=None if topology.labels is None else tuple(topology.labels[i] for i in nodes),
        groups=None if topology.groups is None else topology.groups[nodes],
    )
