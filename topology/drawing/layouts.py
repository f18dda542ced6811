"""Layouts that show the structure of a topology."""

from __future__ import annotations

from math import pi

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import breadth_first_order

from topology.catalogue import NamedTopology
from topology.graphs import Topology

__all__ = ["Positions", "circle", "layout", "wrapped_links"]

Positions = NDArray[np.float64]

_FORCE_DIRECTED_NODES = 400
_CIRCULAR = frozenset({"ring", "complete", "exponential", "small-world"})


def layout(named: NamedTopology) -> Positions:  # noqa: PLR0911 - one for each way of drawing
    """Return positions for the nodes: float64 [n, 2], about within the unit circle.

    Known families get the layout textbooks draw them with, graphs that carry positions keep them, others are laid
    out by their distances (Kamada & Kawai 1989); a graph that changes from round to round is laid out on a circle.
    """
    family, graph = named.expression.family.name, named.graph
    if graph is None or family in _CIRCULAR:
        return circle(named.sequence.n)
    if graph.positions is not None and graph.positions.shape[1] >= 2:
        return _fitted(graph.positions[:, :2])
    if family == "path":
        return circle(graph.n, gap=0.16)
    if family == "torus":
        return _grid(named.expression.values["shape"])
    if family == "hypercube":
        return _cube(int(np.log2(graph.n)))
    if family in {"star", "tree"}:
        return _radial(graph, int(np.argmax(graph.degrees)) if family == "star" else 0)
    return _by_distance(graph)


def circle(n: int, *, gap: float = 0.0) -> Positions:
    """Positions around a circle, clockwise from the top; `gap` of it stays empty, at the bottom."""
    turns = 0.5 + gap / 2 + (1 - gap) * np.arange(n) / max(n - 1, 1) if gap else np.arange(n) / n
    return np.stack([np.sin(2 * pi * turns), np.cos(2 * pi * turns)], axis=1)


def _grid_index(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Place of every node along each dimension: int64 [n, dimensions]."""
    return np.indices(shape).reshape(len(shape), -1).T


def _grid(shape: tuple[int, ...]) -> Positions:
    index = _grid_index(shape)
    rows, columns = index[:, 0], index[:, -1] if len(shape) > 1 else 0 * index[:, 0]
    flat = np.stack([columns, -rows], axis=1).astype(np.float64)
    for axis in range(1, len(shape) - 1):
        flat += np.outer(index[:, axis], [0.36 / axis, 0.28 / axis])
    return _fitted(flat)


def _cube(dimension: int) -> Positions:
    """The corners seen from the direction, of several tried, that separates them best."""
    bits = (np.arange(2**dimension)[:, None] >> np.arange(dimension)) & 1
    angles = pi * np.arange(dimension) / max(dimension, 1)
    best, widest = np.zeros((2**dimension, 2)), -1.0
    for length in np.linspace(1, 0.4, 25):
        lengths = np.where(np.arange(dimension) % 2, length, 1.0)
        seen = _fitted(bits @ (lengths[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)))
        gap = _narrowest_gap(seen)
        if gap > widest * 1.05:
            best, widest = seen, gap
    return best


def _narrowest_gap(positions: Positions) -> float:
    """Distance of the two closest nodes, nearly: only nodes close in one coordinate are compared."""
    near = [np.inf]
    for order in (np.lexsort(positions.T), np.lexsort(positions.T[::-1])):
        for step in (1, 2, 3):
            ahead = positions[order[step:]] - positions[order[:-step]]
            near.append(float(np.linalg.norm(ahead, axis=1).min(initial=np.inf)))
    return min(near)


def _radial(graph: Topology, root: int) -> Positions:
    """A rooted tree in rings: every node in the middle of its leaves' angles."""
    order, parent = breadth_first_order(graph.adjacency, root, directed=False)
    depth, leaves = np.zeros(graph.n, dtype=np.int64), np.zeros(graph.n)
    for node in order[1:]:
        depth[node] = depth[parent[node]] + 1
    for node in order[:0:-1]:
        leaves[node] = max(leaves[node], 1)
        leaves[parent[node]] += leaves[node]
    leaves[root] = max(leaves[root], 1)
    start, taken = np.zeros(graph.n), np.zeros(graph.n)
    for node in order[1:]:
        start[node] = start[parent[node]] + taken[parent[node]]
        taken[parent[node]] += leaves[node]
    angle = 2 * pi * (start + leaves / 2) / leaves[root]
    radius = depth / max(int(depth.max()), 1)
    return np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1)


def _by_distance(graph: Topology) -> Positions:
    import networkx as nx

    plain = graph.to_networkx().to_undirected()
    if graph.n <= _FORCE_DIRECTED_NODES:
        found = nx.kamada_kawai_layout(plain, pos=dict(enumerate(circle(graph.n))))
    else:
        found = nx.spring_layout(plain, seed=0, iterations=60)
    return _fitted(np.array([found[node] for node in range(graph.n)]))


def _fitted(positions: NDArray[np.floating]) -> Positions:
    centred = np.asarray(positions, dtype=np.float64)
    centred = centred - (centred.max(axis=0) + centred.min(axis=0)) / 2
    fitted: Positions = centred / max(float(np.abs(centred).max()), 1e-12)
    return fitted


def wrapped_links(named: NamedTopology) -> set[tuple[int, int]]:
    """Links of a torus that go around its edge; they are drawn as two stubs."""
    if named.graph is None or named.expression.family.name != "torus":
        return set()
    index = _grid_index(named.expression.values["shape"])
    return {(int(i), int(j)) for i, j in named.graph.edges() if np.abs(index[i] - index[j]).max() > 1}
