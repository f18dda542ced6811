"""Graphs from lists of edges and from networkx."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from topology.errors import InvalidParameter, MislabelledNodes, UnknownNode
from topology.graphs.assemble import assemble
from topology.graphs.topology import Topology

if TYPE_CHECKING:
    import networkx

__all__ = ["from_edges", "from_networkx"]


def from_edges(
    edges: Iterable[Sequence[Any]] | npt.NDArray[Any],
    n: int | None = None,
    *,
    directed: bool = False,
    weights: npt.ArrayLike | None = None,
    labels: Sequence[Hashable] | None = None,
    name: str | None = None,
    merge_duplicates: bool = False,
    require_connected: bool = True,
) -> Topology:
    """Return the graph with the given edges.

    Parameters
    ----------
    edges : iterable of pairs, or integer array of shape [edges, 2]
        Ends of each edge, nodes numbered from 0 (or named by `labels`). An undirected edge is given once.
    n : int, optional
        Number of nodes; without it, one more than the largest number (or as many as labels).
    directed : bool
        Whether a pair means (from, to).
    weights : float array, shape [edges], optional
        One number per edge.
    labels : sequence of hashable, optional
        Names of nodes 0 … n − 1. With labels, edges are pairs of labels.
    name : str, optional
        Name of the graph.
    merge_duplicates : bool
        Keep the first of several equal edges instead of raising.
    require_connected : bool
        Raise if the graph is not connected.

    Raises
    ------
    SelfLoop, DuplicateEdge, UnknownNode, MislabelledNodes, Disconnected
        If the graph is not simple, is badly labelled or is not connected; the message says where.
    InvalidParameter
        If `edges` is not a list of pairs, or a weight is NaN, infinite or negative.

    Examples
    --------
    >>> from topology import graphs
    >>> graphs.from_edges([("Ada", "Bob"), ("Bob", "Cleo")], labels=["Ada", "Bob", "Cleo"])
    <Topology graph of 3 nodes: 3 nodes, 2 undirected edges>
    """
    listed = edges if isinstance(edges, np.ndarray) else [tuple(edge) for edge in edges]
    if labels is not None:
        n, pairs = _by_label(listed, tuple(labels), n)
    else:
        pairs = _as_pairs(listed)
        n = (int(pairs.max()) + 1 if len(pairs) else 1) if n is None else n
    numbers = None if weights is None else np.asarray(weights, dtype=np.float64)
    if numbers is not None and numbers.shape != (len(pairs),):
        raise InvalidParameter(
            "weights do not match edges",
            expected=f"{len(pairs)} numbers",
            got=numbers.shape,
            remedy="Pass one weight an edge, in the order of edges",
        )
    found = assemble(
        n,
        pairs[:, 0],
        pairs[:, 1],
        name=name or f"graph of {n} nodes",
        directed=directed,
        weights=None if numbers is None else _usable(numbers),
        labels=None if labels is None else tuple(labels),
        merge_duplicates=merge_duplicates,
    )
    return found.require_connected() if require_connected else found


def _as_pairs(listed: object) -> npt.NDArray[np.int64]:
    try:
        pairs = np.asarray(listed)
    except ValueError:
        pairs = np.empty(0, dtype=object)
    if pairs.size == 0 and pairs.dtype != object:
        return np.empty((0, 2), dtype=np.int64)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not np.issubdtype(pairs.dtype, np.integer):
        raise InvalidParameter(
            "edges are not pairs of node numbers",
            expected="an integer array of shape [edges, 2]",
            got=f"{pairs.dtype} of shape {pairs.shape}",
            remedy="Pass [(0, 1), (1, 2), …], or labels= if nodes have names",
        )
    return pairs.astype(np.int64)


def _by_label(
    listed: Iterable[Sequence[Hashable]], labels: tuple[Hashable, ...], n: int | None
) -> tuple[int, npt.NDArray[np.int64]]:
    number = {label: i for i, label in enumerate(labels)}
    if len(number) != len(labels) or (n is not None and n != len(labels)):
        repeated = next((label for i, label in enumerate(labels) if number[label] != i), None)
        raise MislabelledNodes(
            "labels do not name the nodes",
            expected=f"{n if n is not None else len(labels)} distinct labels",
            got=f"{len(labels)} labels" if repeated is None else f"{repeated!r} more than once",
            remedy="Give every node its own label",
        )
    try:
        pairs = [(number[u], number[v]) for u, v in listed]
    except KeyError as missing:
        raise UnknownNode(
            "an edge names a node that has no label",
            expected="ends from labels",
            got=missing.args[0],
            remedy="Add the label, or correct the edge",
        ) from None
    return len(labels), np.array(pairs, dtype=np.int64).reshape(-1, 2)


def from_networkx(
    graph: networkx.Graph,
    *,
    weight: str | None = None,
    position: str = "pos",
    drop_self_loops: bool = False,
    merge_duplicates: bool = False,
    require_connected: bool = True,
    name: str | None = None,
) -> Topology:
    """Return a networkx graph as a `Topology`, its nodes numbered in the graph's order.

    Parameters
    ----------
    graph : networkx.Graph or networkx.DiGraph
        Multigraphs too, with `merge_duplicates`. Node names become `labels` unless they are 0 … n − 1.
    weight : str, optional
        Edge attribute to read as `weights`.
    position : str
        Node attribute to read as `positions`, if every node has it.
    drop_self_loops, merge_duplicates : bool
        Drop whatever a simple graph cannot have, instead of raising.
    require_connected : bool
        Raise if the graph is not connected.
    name : str, optional
        Name of the result; by default the graph's own.

    Raises
    ------
    SelfLoop, DuplicateEdge, Disconnected
        If the graph is not simple or not connected; the message says where.
    MislabelledNodes
        If `weight` names an attribute that an edge lacks.
    InvalidParameter
        If the graph has no nodes, or a weight is NaN, infinite or negative.
    """
    nodes = list(graph.nodes)
    if not nodes:
        raise InvalidParameter("the graph is empty", expected="at least one node", got=0, remedy="Add nodes")
    number = {node: i for i, node in enumerate(nodes)}
    kept = [(u, v, data) for u, v, data in graph.edges(data=True) if u != v or not drop_self_loops]
    pairs = np.array([(number[u], number[v]) for u, v, _ in kept], dtype=np.int64).reshape(-1, 2)
    found = assemble(
        len(nodes),
        pairs[:, 0],
        pairs[:, 1],
        name=name or str(graph.name or "") or f"graph of {len(nodes)} nodes",
        directed=bool(graph.is_directed()),
        weights=None if weight is None else _edge_weights(kept, weight),
        positions=_positions(graph, position),
        labels=None if nodes == list(range(len(nodes))) else tuple(nodes),
        merge_duplicates=merge_duplicates,
    )
    return found.require_connected() if require_connected else found


def _edge_weights(
    edges: list[tuple[Hashable, Hashable, Mapping[str, object]]], weight: str
) -> npt.NDArray[np.float64]:
    for u, v, data in edges:
        if not isinstance(data.get(weight), int | float):
            raise MislabelledNodes(
                f"an edge has no number {weight!r}",
                expected=f"the attribute {weight!r} on every edge",
                got=f"{data.get(weight)!r} on {u!r}–{v!r}",
                remedy="Add it, or pass weight=None",
            )
    return _usable(np.array([data[weight] for _, _, data in edges], dtype=np.float64))


def _usable(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return weights that are lengths or latencies: finite, and none negative."""
    wrong = ~(np.isfinite(weights) & (weights >= 0))
    if wrong.any():
        raise InvalidParameter(
            "an edge's weight is not a length",
            expected="finite numbers of at least 0",
            got=f"{weights[wrong][0]:g} on edge {int(wrong.argmax())}",
            remedy="Correct it, or leave weights out",
        )
    return weights


def _positions(graph: networkx.Graph, attribute: str) -> npt.NDArray[np.float64] | None:
    found = [data.get(attribute) for _, data in graph.nodes(data=True)]
    if any(p is None for p in found):
        return None
    try:
        positions = np.array([tuple(p) for p in found], dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return positions if positions.ndim == 2 else None
