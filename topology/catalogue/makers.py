"""Makers of families whose functions take more than an expression can hold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from topology.errors import InvalidParameter

if TYPE_CHECKING:
    from topology.graphs import Topology
    from topology.sequences import MixingSequence

__all__ = ["BETWEEN", "d_cliques_of_classes", "matrix_of_file"]

BETWEEN = ("ring", "small-world", "fractal", "fully-connected")
"""Ways of linking D-Cliques."""


def d_cliques_of_classes(
    *,
    n: int,
    classes: int,
    clique_size: int,
    between: str,
    seed: int,
    swaps: int,
    labels: Any,  # noqa: ANN401 - any array
) -> Topology:
    """Return D-Cliques of `n` nodes: by their classes, or with one class each, node i that of i mod `classes`.

    Parameters
    ----------
    labels : array, shape [n] or [n, classes], or None
        The class of each node, or how many samples of each class it has.
    between : str
        One of `BETWEEN`.
    n, classes, clique_size, seed, swaps
        As in `topology.graphs.d_cliques`.

    Raises
    ------
    InvalidParameter
        If `n` or `classes` is below 1, or there is not one label per node.
    """
    import numpy as np

    from topology.graphs import d_cliques

    if n < 1 or classes < 1:
        raise InvalidParameter(
            "there are no nodes or no classes", expected="n ≥ 1 and classes ≥ 1", got=(n, classes)
        )
    given = np.arange(n) % classes if labels is None else np.asarray(labels)
    if len(given) != n:
        raise InvalidParameter("there is not one label per node", expected=f"{n} labels", got=len(given))
    words: Any = between.replace("-", " ")
    return d_cliques(given, clique_size=clique_size, between=words, swaps=swaps, seed=seed)


def matrix_of_file(path: str) -> MixingSequence:
    """Return the sequence that uses the mixing matrix of a file in every round.

    Raises
    ------
    InvalidParameter
        If the file holds no matrix.
    NotMixingMatrix
        If a row of it does not sum to 1.
    """
    from topology.matrices import read_matrix
    from topology.sequences import static

    return static(read_matrix(Path(path)), name=Path(path).stem)
