"""A cache of traced programs, for later runs that compute the same."""

from __future__ import annotations

from collections.abc import Hashable

from torch.fx import GraphModule

from gossipfl.recent import RecentMap

__all__ = ["Traces"]


class Traces(RecentMap[Hashable, GraphModule]):
    """Graphs by what they compute, those last used.

    Tracing takes longer than a short run. A sweep has many runs of the same model with the same settings of
    training, whose graphs are the same.

    Parameters
    ----------
    most : int
        How many graphs are kept.
    """

    def __init__(self, most: int = 256) -> None:
        super().__init__(most)
