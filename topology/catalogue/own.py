"""Topologies of the user's own: any function that returns a graph, a mixing sequence or a mixing matrix."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from topology.catalogue.family import Family, Kind
from topology.catalogue.parameter import Parameter, Reading
from topology.errors import InvalidParameter, UnknownTopology
from topology.plugins import load_object

if TYPE_CHECKING:
    from topology.graphs import Topology
    from topology.sequences import MixingSequence

__all__ = ["adopted", "family_of", "own_family"]

_READINGS: dict[object, Reading] = {
    int: "whole number",
    float: "number",
    bool: "yes or no",
    str: "word",
    Path: "path",
}


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


def family_of(name: str, maker: Callable[..., Any]) -> Family:
    """Return the family whose parameters are those of a function.

    Annotations say how values are read; in ``degree: Annotated[int, "links of every node"]`` the text is the
    parameter's description. The first line of the docstring is the summary.

    Raises
    ------
    InvalidParameter
        If the function takes arguments that cannot be named.
    """
    try:
        hints = get_type_hints(maker, include_extras=True)
    except (NameError, TypeError):
        hints = {}
    parameters = []
    for parameter in inspect.signature(maker).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise InvalidParameter(
                f"{name} takes {parameter}", expected="arguments that have names", remedy="Give each a name"
            )
        kind, *notes = (
            get_args(hint) if hasattr(hint := hints.get(parameter.name), "__metadata__") else (hint,)
        )
        given = {} if parameter.default is parameter.empty else {"default": parameter.default}
        description = next((note for note in notes if isinstance(note, str)), "")
        parameters.append(Parameter(parameter.name, _READINGS.get(kind, "value"), description, **given))
    summary = (inspect.getdoc(maker) or "").partition("\n")[0].rstrip(".")
    return Family(
        name=name,
        maker=maker,
        kind=_kind_of(hints.get("return")),
        parameters=tuple(parameters),
        summary=summary or "a function of your own",
    )


def _kind_of(returned: object) -> Kind:
    name = getattr(returned, "__name__", "")
    if name.endswith("Sequence"):
        return "sequence"
    return "graph" if name in {"Topology", "Graph", "DiGraph"} else "graph or sequence"


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
    import networkx as nx
    import numpy as np
    from scipy.sparse import issparse

    from topology.graphs import Topology, from_networkx
    from topology.sequences import MixingSequence, static

    if isinstance(made, (Topology, MixingSequence)):
        return made
    if isinstance(made, nx.Graph):
        return from_networkx(made, name=name)
    if issparse(made) or isinstance(made, np.ndarray):
        return static(made, name=name)
    raise InvalidParameter(
        f"{name} returned no topology",
        expected="a networkx graph, a Topology, a MixingSequence or a mixing matrix",
        got=type(made).__name__,
    )
