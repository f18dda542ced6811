"""A topology of one's own: islands of nodes, each linked to the next by a few bridges."""

from typing import Annotated

import networkx as nx


def islands(
    n: int,
    size: Annotated[int, "nodes of an island"] = 4,
    bridges: Annotated[int, "links from an island to the next"] = 1,
) -> nx.Graph:
    """Complete islands on a ring, with bridges from each to the next."""
    graph = nx.Graph()
    graph.add_nodes_from(range(n))
    starts = range(0, n, size)
    for start in starts:
        island = range(start, min(start + size, n))
        graph.add_edges_from((i, j) for i in island for j in island if i < j)
        if len(starts) > 1:
            graph.add_edges_from((start + k, (start + size + k) % n) for k in range(bridges))
    return graph
