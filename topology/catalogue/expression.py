"""Expressions and tables that name a topology, such as ``torus:8x8`` or ``{name = "base", k = 2}``.

``FAMILY:VALUE,…,NAME=VALUE,…``: values without a name fill a family's parameters in order. A value that is
itself an expression, or a list, stands in parentheses. Every graph takes ``weights=`` (how its links weigh) and
every topology ``shuffled=SEED`` (its nodes relabelled at random). A function of the user's own is written
``package.module:function`` or ``package.module:function:NAME=VALUE,…``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from topology.catalogue.family import Family
from topology.catalogue.parameter import Parameter
from topology.catalogue.registry import canonical_name, find_family
from topology.errors import MalformedExpression, TopologyError
from topology.plugins import is_object_name
from topology.spelling import did_you_mean

__all__ = ["WEIGHTINGS", "Expression", "as_table", "from_table", "parse"]

WEIGHTINGS = ("metropolis-hastings", "max-degree", "uniform", "lazy", "fastest")
"""Rules for the weights of a graph's links; ``lazy`` is half Metropolis–Hastings, half oneself."""

_WEIGHTS = Parameter("weights", "word", "how links weigh", None, choices=WEIGHTINGS)
_SHUFFLED = Parameter("shuffled", "whole number", "seed of a relabelling of the nodes", None)

Implied = Mapping[str, Any | Callable[[], Any]]


@dataclass(frozen=True, slots=True)
class Expression:
    """A read expression: a family and the values of its parameters.

    Attributes
    ----------
    text : str
        The expression as written, with implied values filled in.
    family : Family
    values : mapping of str to object
        Every parameter's value, defaults filled in.
    weights : str or None
        One of `WEIGHTINGS`; None for the usual ones of its kind.
    shuffled : int or None
        Seed of a relabelling.
    """

    text: str
    family: Family
    values: Mapping[str, Any]
    weights: str | None
    shuffled: int | None


def parse(text: str, *, implied: Implied | None = None, directory: Path | None = None) -> Expression:
    """Read an expression.

    Parameters
    ----------
    text : str
    implied : mapping, optional
        Values of parameters that are not given (``{"n": 24, "seed": 3}``), or functions that return them; those
        that the family does not take are passed over.
    directory : Path, optional
        Directory that is searched first for the user's own functions.

    Raises
    ------
    UnknownTopology
        If its family is unknown.
    MalformedExpression
        If a value is missing, superfluous, unknown or of the wrong type.
    """
    name, rest = _named(text)
    family = find_family(name, directory=directory)
    bound = _Binding(f"cannot read {text.strip()!r}", family, directory, implied or {})
    for label, value in _labelled(_split(rest, text), bound):
        bound.give(label, value, read=True)
    return bound.expression(text.strip())


def from_table(
    name: str,
    arguments: Mapping[str, Any],
    *,
    implied: Implied | None = None,
    directory: Path | None = None,
) -> Expression:
    """Read a table: the name of a family, and its parameters as TOML or Python have them.

    Parameters
    ----------
    name : str
    arguments : mapping of str to object
        Values of the parameters, ``weights`` and ``shuffled`` among them.
    implied, directory
        As in `parse`.

    Raises
    ------
    UnknownTopology, MalformedExpression
        As `parse` does.
    """
    family = find_family(name, directory=directory)
    bound = _Binding(f"topology {family.name!r} cannot be made", family, directory, implied or {})
    for label, value in arguments.items():
        try:
            bound.give(label.replace("-", "_"), value, read=False)
        except MalformedExpression as error:
            error.key = label
            raise
    return bound.expression("")


def as_table(text: str) -> dict[str, Any]:
    """Return an expression as the table that means the same, its family's name under ``name``.

    A value that is an expression stays text, and a function of the user's own is not imported.

    Raises
    ------
    UnknownTopology, MalformedExpression
        As for `parse`, except that values may be missing.
    """
    name, rest = _named(text)
    family = (
        Family(name=name, maker="", kind="graph", summary="") if is_object_name(name) else find_family(name)
    )
    bound = _Binding(f"cannot read {text.strip()!r}", family, None, {})
    table: dict[str, Any] = {"name": family.name}
    for label, value in _labelled(_split(rest, text), bound):
        if is_object_name(name):
            table[label] = Parameter(label, "value").read(value)
        else:
            known = bound.give(label, value, read=True)
            table[known] = bound.raw(known)
    return table


def _labelled(parts: list[str], bound: _Binding) -> Iterator[tuple[str, str]]:
    """Each value of an expression with the parameter it is for: by name, or by its place."""
    family = bound.family
    by_place = [] if is_object_name(family.name) else [parameter.name for parameter in family.parameters]
    for position, part in enumerate(parts):
        label, equals, value = part.partition("=")
        label = label.strip().replace("-", "_")
        if equals and label.isidentifier():
            yield label, value.strip()
        elif position < len(by_place):
            yield by_place[position], part.strip()
        else:
            raise bound.malformed(f"{part.strip()!r} is one value too many")


class _Binding:
    """Values on their way to a family's parameters."""

    def __init__(self, what: str, family: Family, directory: Path | None, implied: Implied) -> None:
        self._what, self.family, self._directory, self._implied = what, family, directory, implied
        extras = (_SHUFFLED,) if family.is_sequence else (_WEIGHTS, _SHUFFLED)
        self._known = {parameter.name: parameter for parameter in (*family.parameters, *extras)}
        self._given: dict[str, Any] = {}
        self._complete = True

    def give(self, label: str, value: Any, *, read: bool) -> str:  # noqa: ANN401
        """Set a parameter, from text or from a value, and return its name."""
        label = self.family.renamed.get(label, label)
        if label not in self._known:
            hint = did_you_mean(label, self._known)
            raise self.malformed(f"{self.family.name} has no parameter {label!r}", hint)
        if label in self._given:
            raise self.malformed(f"{label} is given twice")
        parameter = self._known[label]
        try:
            found = parameter.read(value) if read else parameter.accept(value)
        except ValueError:
            example = {"shape": ", such as 8x8", "whole numbers": ", such as (0,1,1,2)"}.get(
                parameter.reading, ""
            )
            kind = parameter.bounds if parameter.choices else f"a {parameter.bounds}{example}"
            hint = did_you_mean(str(value), parameter.choices)
            raise self.malformed(f"{label} takes {kind}, not {value!r}", hint) from None
        self._given[label] = found
        return label

    def raw(self, label: str) -> Any:  # noqa: ANN401
        """Return a value in TOML's notation."""
        value = self._given[label]
        return list(value) if isinstance(value, tuple) else value

    def expression(self, text: str) -> Expression:
        """Return the expression, with implied or default values where none was given."""
        values: dict[str, Any] = {}
        for parameter in self.family.parameters:
            name = parameter.name
            if name in self._given and parameter.reading == "topology":
                inner = parse(self._given[name], implied=self._implied, directory=self._directory)
                values[name], text = inner, text if inner.text == self._given[name] else ""
            elif name in self._given:
                values[name] = self._given[name]
            elif name in self._implied:
                implied = self._implied[name]
                values[name], text = implied() if callable(implied) else implied, ""
            elif parameter.required:
                raise self.malformed(f"{name} is missing")
            else:
                values[name] = parameter.default
        weights, shuffled = self._given.get("weights"), self._given.get("shuffled")
        read = Expression(text, self.family, values, weights, shuffled)
        return read if text else Expression(_written(read), self.family, values, weights, shuffled)

    def malformed(self, problem: str, hint: str | None = None) -> MalformedExpression:
        """Return the error that says what is wrong with the expression."""
        family = self.family
        usage = f"Write {family.usage}" + (f", for example {family.example}" if family.example else "")
        return MalformedExpression(f"{self._what}: {problem}", remedy=f"{hint} {usage}" if hint else usage)


def _named(text: str) -> tuple[str, str]:
    """The name of a family or function, and what stands behind it."""
    name, _, rest = text.strip().partition(":")
    name, (function, _, further) = name.strip(), rest.partition(":")
    known = canonical_name(name)
    try:
        return find_family(known).name, rest
    except TopologyError:
        own = f"{name}:{function.strip()}"
        return (own, further) if is_object_name(own) else (name, rest)


def _written(read: Expression) -> str:
    """The expression in full: the first value without its name, those that are not usual with theirs."""
    parts = []
    for position, parameter in enumerate(read.family.parameters):
        value = read.values[parameter.name]
        if isinstance(value, Expression):
            value = value.text
        if parameter.required or (isinstance(value, (str, int, float, tuple)) and value != parameter.default):
            text = parameter.written(value)
            parts.append(
                text if position == 0 and not is_object_name(read.family.name) else f"{parameter.name}={text}"
            )
    for parameter, value in ((_WEIGHTS, read.weights), (_SHUFFLED, read.shuffled)):
        if value is not None:
            parts.append(f"{parameter.name}={value}")
    return f"{read.family.name}:{','.join(parts)}" if parts else read.family.name


def _split(rest: str, text: str) -> list[str]:
    """Parts between the commas outside parentheses."""
    parts, depth = [""], 0
    for character in rest:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth < 0:
            break
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    if depth:
        raise MalformedExpression("the parentheses of an expression do not match", got=repr(text))
    return [] if parts == [""] else parts
