"""Families whose makers take more than an expression can say."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from topology.errors import InvalidParameter

if TYPE_CHECKING:
    from topology.graphs import Topology

__all__ = ["d_cliques_of_classes"]


def d_cliques_of_classes(n: int, classes: int, clique_size: int, between: str, seed: int) -> Topology:
    """Return D-Cliques of `n` nodes with one class each, node i that of i mod `classes`.

    `between` is as in `topology.graphs.d_cliques`, words joined by hyphens.

    Raises
    ------
    InvalidParameter
        If `n` or `classes` is below 1, or `between` is unknown.
    """
    import numpy as np

    from topology.graphs import d_cliques
    from topology.graphs.cliques import BetweenCliques

    if n < 1 or classes < 1:
        raise InvalidParameter(
            "there are no nodes or no classes", expected="n ≥ 1 and classes ≥ 1", got=(n, classes)
        )
    for known in get_args(BetweenCliques):
        if between.replace("-", " ") == known:
            return d_cliques(np.arange(n) % classes, clique_size=clique_size, between=known, seed=seed)
    ways = ", ".join(known.replace(" ", "-") for known in get_args(BetweenCliques))
    raise InvalidParameter("cliques cannot be linked like that", expected=ways, got=between)
