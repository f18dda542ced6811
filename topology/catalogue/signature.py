"""Families as the functions that make them declare them: by their annotations and docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Interval

from topology.catalogue.family import Family, Kind
from topology.catalogue.parameter import REQUIRED, Parameter, Reading
from topology.errors import InvalidParameter
from topology.graphs import Topology

__all__ = ["family_of"]

_READINGS: dict[object, Reading] = {
    int: "whole number",
    float: "number",
    bool: "yes or no",
    str: "word",
    Path: "path",
    Topology: "topology",
    Sequence[int]: "shape",
    tuple[int, ...]: "whole numbers",
}
_SECTION = re.compile(r"^Parameters\n-+\n(.*?)(?=^\w[\w ]*\n-+$|\Z)", re.DOTALL | re.MULTILINE)
_ENTRY = re.compile(r"^(\w[\w, ]*?)(?: *:.*)?\n((?: +.*\n|\n)+)", re.MULTILINE)


def family_of(
    name: str,
    maker: Callable[..., Any],
    *,
    defaults: Mapping[str, object] | None = None,
    **about: Any,  # noqa: ANN401 - as many types as attributes
) -> Family:
    """Return the family of a function, with the function's parameters.

    Annotations say how values are read and bound; in ``degree: Annotated[int, Ge(1), "links of every node"]``
    the text is the parameter's description, else the first sentence of its entry in a NumPy docstring. The
    first line of the docstring is the family's summary.

    Parameters
    ----------
    name : str
    maker : callable
    defaults : mapping of str to object, optional
        Values of parameters that the function requires.
    **about
        Further attributes of the `Family`.

    Raises
    ------
    InvalidParameter
        If the function takes arguments that cannot be named.
    """
    try:
        kinds, hints = get_type_hints(maker), get_type_hints(maker, include_extras=True)
    except (NameError, TypeError):
        kinds, hints = {}, {}
    documented = _documented(maker)
    parameters = []
    for parameter in inspect.signature(maker).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise InvalidParameter(
                f"{name} takes {parameter}", expected="arguments that have names", remedy="Give each a name"
            )
        label, default = parameter.name, parameter.default
        if default is parameter.empty:
            default = (defaults or {}).get(label, REQUIRED)
        notes = {"description": documented.get(label, ""), **_notes(hints.get(label))}
        parameters.append(Parameter(label, default=default, **_reading(kinds.get(label)), **notes))
    summary = (inspect.getdoc(maker) or "").partition("\n")[0].rstrip(".") or "a function of your own"
    described = {"kind": _kind_of(kinds.get("return")), "summary": summary, **about}
    return Family(name=name, maker=maker, parameters=tuple(parameters), **described)


def _reading(kind: Any) -> dict[str, Any]:  # noqa: ANN401 - any annotation
    """How values of a type are read, and the words that they may be."""
    if get_origin(kind) in (Union, UnionType):
        others = [each for each in get_args(kind) if each is not NoneType]
        kind = others[0] if len(others) == 1 else Path if set(others) == {str, Path} else None
    if get_origin(kind) is Literal and all(isinstance(choice, str) for choice in get_args(kind)):
        return {"reading": "word", "choices": get_args(kind)}
    return {"reading": _READINGS.get(kind, "value")}


def _notes(hint: Any) -> dict[str, Any]:  # noqa: ANN401 - any annotation
    """The description and bounds that `Annotated` adds to a type, or to a part of it."""
    found: dict[str, Any] = {}
    for inner in get_args(hint):
        found |= _notes(inner)
    for note in getattr(hint, "__metadata__", ()):
        if isinstance(note, str):
            found["description"] = note
        elif isinstance(note, (Ge, Interval)):
            found |= {"least": note.ge, "most": getattr(note, "le", None)}
    return found


def _documented(maker: Callable[..., Any]) -> dict[str, str]:
    """The first sentence on each parameter in a NumPy docstring."""
    section = _SECTION.search(f"{inspect.getdoc(maker) or ''}\n")
    found = {}
    for names, text in _ENTRY.findall(section[1]) if section else ():
        sentence = re.split(r"[.;:](?:\s|$)| \(", " ".join(text.split()).replace("`", ""), maxsplit=1)[0]
        found.update(dict.fromkeys(names.split(", "), sentence[:1].lower() + sentence[1:]))
    return found


def _kind_of(returned: object) -> Kind:
    name = getattr(returned, "__name__", "")
    if name.endswith("Sequence"):
        return "sequence"
    return "graph" if name in {"Topology", "Graph", "DiGraph"} else "graph or sequence"
