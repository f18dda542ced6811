"""Topologies of the user's own: any function that returns a graph, a mixing sequence or a mixing matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import issparse

from topology.catalogue.family import Family
from topology.catalogue.signature import family_of
from topology.errors import InvalidParameter, UnknownTopology
from topology.graphs import Topology, from_networkx
from topology.plugins import load_object
from topology.sequences import MixingSequence, static

__all__ = ["adopted", "own_family"]


def own_family(name: str, directory: Path | None = None) -> Family:
    """Return the family of the function that ``package.module:function`` names.

    Parameters
    ----------
    name : str
    directory : Path, optional
        Searched before the current directory and the installed packages.

    Raises
    ------
    UnknownTopology, InvalidParameter
        If there is no such function, or its module cannot be imported.
    """
    maker = load_object(
        name, kind="function", unknown=UnknownTopology, unusable=InvalidParameter, directory=directory
    )
    return family_of(name, maker)


def adopted(made: Any, name: str) -> Topology | MixingSequence:  # noqa: ANN401 - whatever a function returns
    """Return a function's result as a graph or a mixing sequence.

    Parameters
    ----------
    made : networkx graph, Topology, MixingSequence, or sparse or dense matrix of shape [n, n]
    name : str
        Its name.

    Raises
    ------
    InvalidParameter
        If it is neither.
    TopologyError
        If a graph is not simple or not connected, or a matrix is no mixing matrix.
    """
    if isinstance(made, (Topology, MixingSequence)):
        return made
    import networkx as nx

    if isinstance(made, nx.Graph):
        return from_networkx(made, name=name)
    if issparse(made) or isinstance(made, np.ndarray):
        return static(made, name=name)
    raise InvalidParameter(
        f"{name} returned no topology",
        expected="a networkx graph, a Topology, a MixingSequence or a mixing matrix",
        got=type(made).__name__,
    )
