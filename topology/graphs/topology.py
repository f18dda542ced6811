"""The graph type of this package: immutable, compact, the same for ten nodes and for a million."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from topology.errors import DirectedGraph, Disconnected, UnknownNode

if TYPE_CHECKING:
    import networkx

__all__ = ["FloatArray", "IntArray", "Topology"]

IntArray = npt.NDArray[np.integer[Any]]
FloatArray = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Topology:
    """A simple graph of who may talk to whom, on nodes ``0 … n-1``.

    Made by the functions of `topology.graphs`, which check their input; the arrays are read-only.

    Parameters
    ----------
    name : str
        Description, e.g. ``ring(16)``.
    indptr : integer array, shape [n + 1]
        Start of each node's neighbours in `indices` (compressed sparse rows).
    indices : integer array, shape [number of directed edges]
        Neighbours of each node in increasing order. In a directed graph: the nodes it sends to. An
        undirected edge appears twice, once from either end.
    directed : bool
        Whether edges have a direction.
    weights : float64 array, shape of `indices`, optional
        One number an edge, as read or drawn (a length, a latency); mixing weights are made elsewhere.
    positions : float64 array, shape [n, dimensions], optional
        Positions of nodes, for geometric and real networks.
    labels : tuple, length n, optional
        Names of the nodes in the original graph.
    groups : int64 array, shape [n], optional
        The group (clique) of each node, if the construction has groups.

    Examples
    --------
    >>> from topology import graphs
    >>> graphs.ring(5).neighbours(0)
    array([1, 4], dtype=int32)
    """

    name: str
    indptr: IntArray
    indices: IntArray
    directed: bool = False
    weights: FloatArray | None = None
    positions: FloatArray | None = None
    labels: tuple[Hashable, ...] | None = None
    groups: IntArray | None = None

    def __post_init__(self) -> None:
        for array in (self.indptr, self.indices, self.weights, self.positions, self.groups):
            if array is not None:
                array.setflags(write=False)

    def __repr__(self) -> str:
        kind = "directed" if self.directed else "undirected"
        return f"<Topology {self.name}: {self.n:,} nodes, {self.number_of_edges:,} {kind} edges>"

    @property
    def n(self) -> int:
        """Number of nodes."""
        return len(self.indptr) - 1

    @property
    def number_of_edges(self) -> int:
        """Number of edges; an undirected edge counts once."""
        return len(self.indices) if self.directed else len(self.indices) // 2

    @cached_property
    def degrees(self) -> IntArray:
        """Number of neighbours of each node, integer [n]; in a directed graph, of those it sends to."""
        degrees: IntArray = np.diff(self.indptr)
        degrees.setflags(write=False)
        return degrees

    @cached_property
    def in_degrees(self) -> IntArray:
        """Number of nodes each node hears from, integer [n]; in an undirected graph its degrees."""
        if not self.directed:
            return self.degrees
        degrees: IntArray = np.bincount(self.indices, minlength=self.n)
        degrees.setflags(write=False)
        return degrees

    @property
    def max_degree(self) -> int:
        """The largest of `degrees`, 0 for a single node."""
        return int(self.degrees.max(initial=0))

    @property
    def is_regular(self) -> bool:
        """Whether all nodes have the same degree, in and out."""
        return bool((self.degrees == self.max_degree).all() and (self.in_degrees == self.max_degree).all())

    @property
    def adjacency(self) -> csr_array:
        """Adjacency as `scipy.sparse.csr_array` of float64 ones, [n, n]; entry (i, j): i sends to j.

        A new array on each call, sharing `indices` and `indptr`, which are read-only.
        """
        matrix = csr_array(
            (np.ones(len(self.indices)), self.indices, self.indptr), shape=(self.n, self.n), copy=False
        )
        matrix.has_sorted_indices = True
        return matrix

    @cached_property
    def _reversed(self) -> csr_array:
        matrix = self.adjacency.T.tocsr()
        matrix.sort_indices()
        return matrix

    def neighbours(self, i: int) -> IntArray:
        """Nodes that `i` sends to, in increasing order.

        Raises
        ------
        UnknownNode
            If there is no node `i`.
        """
        self._check_node(i)
        return self.indices[self.indptr[i] : self.indptr[i + 1]]

    def in_neighbours(self, i: int) -> IntArray:
        """Nodes that `i` hears from, in increasing order; in an undirected graph its neighbours.

        Raises
        ------
        UnknownNode
            If there is no node `i`.
        """
        if not self.directed:
            return self.neighbours(i)
        self._check_node(i)
        matrix = self._reversed
        found: IntArray = matrix.indices[matrix.indptr[i] : matrix.indptr[i + 1]]
        return found

    def has_edge(self, i: int, j: int) -> bool:
        """Whether `i` sends to `j`."""
        around = self.neighbours(i)
        place = int(np.searchsorted(around, j))
        return place < len(around) and int(around[place]) == j

    def edges(self) -> IntArray:
        """All edges, integer [edges, 2] (from, to); an undirected edge once, its smaller end first."""
        sources = np.repeat(np.arange(self.n, dtype=self.indices.dtype), self.degrees)
        pairs = np.stack((sources, self.indices), axis=1)
        return pairs if self.directed else pairs[sources < self.indices]

    @cached_property
    def components(self) -> tuple[int, IntArray]:
        """Number of components (strong ones if directed), and the component of each node, int32 [n]."""
        count, member = connected_components(self.adjacency, directed=True, connection="strong")
        return int(count), member

    @property
    def is_connected(self) -> bool:
        """Whether every node reaches every other, following directions."""
        return self.components[0] == 1

    def require_connected(self, remedy: str | None = None) -> Topology:
        """Return this topology, or raise an error that names nodes cut off.

        Raises
        ------
        Disconnected
            If some node cannot reach some other.
        """
        count, member = self.components
        if count > 1:
            sizes = np.bincount(member)
            lost = np.flatnonzero(member != int(sizes.argmax()))
            shown = ", ".join(str(self.labels[i] if self.labels else i) for i in lost[:5].tolist())
            kind = "strongly connected graph" if self.directed else "connected graph"
            raise Disconnected(
                f"{self.name} falls into {count} parts",
                expected=f"a {kind}",
                got=f"{len(lost)} of {self.n} nodes outside the largest part (nodes {shown}"
                f"{', …' if len(lost) > 5 else ''})",
                remedy=remedy or "Add edges, or keep the largest part: topology.graphs.largest_component(…)",
            )
        return self

    def require_undirected(self, what: str, remedy: str) -> Topology:
        """Return this topology, or raise an error that says what needs links to go both ways.

        Raises
        ------
        DirectedGraph
            If links have a direction.
        """
        if self.directed:
            raise DirectedGraph(
                f"{what} needs an undirected graph",
                expected="edges that go both ways",
                got=f"the directed graph {self.name}",
                remedy=remedy,
            )
        return self

    def to_networkx(self) -> networkx.Graph | networkx.DiGraph:
        """Return the graph as `networkx.Graph` or `DiGraph` on nodes ``0 … n-1``.

        Weights become the edge attribute ``weight``, positions, labels and groups the node attributes
        ``pos``, ``label`` and ``group``.
        """
        import networkx as nx

        graph = nx.DiGraph(name=self.name) if self.directed else nx.Graph(name=self.name)
        for i in range(self.n):
            graph.add_node(i, **self._attributes(i))
        if self.weights is None:
            graph.add_edges_from(self.edges().tolist())
            return graph
        sources = np.repeat(np.arange(self.n), self.degrees)
        keep = slice(None) if self.directed else sources < self.indices
        triples = zip(
            sources[keep].tolist(), self.indices[keep].tolist(), self.weights[keep].tolist(), strict=True
        )
        graph.add_weighted_edges_from(triples)
        return graph

    def _attributes(self, i: int) -> dict[str, object]:
        found: dict[str, object] = {}
        if self.positions is not None:
            found["pos"] = tuple(self.positions[i].tolist())
        if self.labels is not None:
            found["label"] = self.labels[i]
        if self.groups is not None:
            found["group"] = int(self.groups[i])
        return found

    def _check_node(self, i: int) -> None:
        if not 0 <= i < self.n:
            raise UnknownNode(
                f"{self.name} has no node {i}",
                expected=f"0 … {self.n - 1}",
                got=i,
                remedy="Nodes are numbered from 0; labels of the source graph are in `labels`",
            )
