"""Makers of families whose functions take more than an expression can hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

from topology.bounds import Natural, Positive, check_at_least
from topology.errors import InvalidParameter
from topology.graphs import Topology, d_cliques
from topology.matrices import read_matrices, read_matrix
from topology.sequences import MixingSequence, adaptive_matching, in_turn
from topology.sequences.adaptive import Matching

__all__ = ["adaptive_matching_of_file", "d_cliques_of_classes", "matrix_of_file"]


def d_cliques_of_classes(  # noqa: PLR0917 - in the order of unnamed values
    n: Positive,
    classes: Positive = 10,
    clique_size: Positive = 10,
    between: Literal["ring", "small-world", "fractal", "fully-connected"] = "ring",
    seed: int = 0,
    swaps: Natural = 1000,
    labels: tuple[int, ...] | None = None,
) -> Topology:
    """Return D-Cliques of `n` nodes: by their labels, or with one class each.

    Parameters
    ----------
    n : int
        Number of nodes.
    classes : int
        Number of classes; node i has class i mod `classes`.
    clique_size : int
        Nodes of a clique.
    between : {"ring", "small-world", "fractal", "fully-connected"}
        Links between cliques.
    seed : int
        The same seed gives the same graph on any machine.
    swaps : int
        Pairs of cliques to try a swap between.
    labels : array, shape [n] or [n, classes], optional
        The class of each node, instead of `classes`; or how many samples of each class it has.

    Raises
    ------
    InvalidParameter
        If `n` or `classes` is below 1, or there must be one label per node.
    """
    n, classes = check_at_least("n", n, 1), check_at_least("classes", classes, 1)
    given = np.arange(n) % classes if labels is None else np.asarray(labels)
    if len(given) != n:
        raise InvalidParameter("there must be one label per node", expected=f"{n} labels", got=len(given))
    words: Any = between.replace("-", " ")
    return d_cliques(given, clique_size=clique_size, between=words, swaps=swaps, seed=seed)


def matrix_of_file(path: Path) -> MixingSequence:
    """Return the sequence that uses the mixing matrix of a file in every round, or its matrices in turn.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    InvalidParameter
        If the file holds no matrix.
    NotMixingMatrix
        If a row of it does not sum to 1.
    """
    return in_turn(read_matrices(Path(path)), name=Path(path).stem)


def adaptive_matching_of_file(  # noqa: PLR0917 - in the order of unnamed values
    n: Positive,
    bandwidth: Path,
    threshold: float | None = None,
    recent: Positive = 10,
    matching: Matching = "maximum",
    seed: int = 0,
) -> MixingSequence:
    """Return the matchings of SAPS over links whose bandwidths a file has.

    Parameters
    ----------
    n : int
        Number of nodes.
    bandwidth : Path
        File of the bandwidths from each node to each, n × n, in any unit.
    threshold : float, optional
        Bandwidth above which a link is fast; the median if left out.
    recent : int
        Rounds for which a meeting counts.
    matching : {"maximum", "proposals"}
        The most pairs of candidates there can be, or mutual proposals by random priorities.
    seed : int
        The same seed gives the same matchings on any machine.

    Raises
    ------
    InvalidParameter
        If the file holds no such matrix, or one of another number of nodes.
    TooLarge
        If there are more than 128 nodes, or 2,048 with proposals.
    """
    n, recent = check_at_least("n", n, 1), check_at_least("recent", recent, 1)
    read = read_matrix(Path(bandwidth))
    if read.shape[0] != n or read.shape[1] != n:  # before a sparse one becomes as large as it claims to be
        raise InvalidParameter(
            "the bandwidths are for another number of nodes", expected=(n, n), got=read.shape
        )
    links = read if isinstance(read, np.ndarray) else read.toarray()
    return adaptive_matching(links, threshold, recent, matching, seed)
