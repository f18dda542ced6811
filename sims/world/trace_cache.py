"""A cache of traced programs, for later runs that compute the same."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from torch.fx import GraphModule

__all__ = ["Traces"]


class Traces:
    """Least-recently-used cache of graphs, keyed by what they compute.

    Tracing takes longer than a short run. A sweep has many runs of the same model with the same settings of
    training, whose graphs are the same.

    Parameters
    ----------
    size : int
        How many graphs are kept.
    """

    def __init__(self, size: int = 256) -> None:
        self._size = size
        self._graphs: OrderedDict[Hashable, GraphModule] = OrderedDict()

    def get(self, key: Hashable) -> GraphModule | None:
        """The graph kept under a key."""
        graph = self._graphs.get(key)
        if graph is not None:
            self._graphs.move_to_end(key)
        return graph

    def keep(self, key: Hashable, graph: GraphModule) -> None:
        """Keep a graph."""
        self._graphs[key] = graph
        if len(self._graphs) > self._size:
            self._graphs.popitem(last=False)
