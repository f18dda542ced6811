"""Expressions that name a topology in a word, such as ``torus:8x8`` or ``base:25,k=2``.

``FAMILY:VALUE,…,NAME=VALUE,…``: values without a name fill a family's parameters in order. A value that is
itself an expression stands in parentheses. Every graph takes ``weights=`` (how its links weigh) and every
topology ``shuffled=SEED`` (its nodes relabelled at random).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from topology.catalogue.families import FAMILIES
from topology.catalogue.family import Family, Parameter
from topology.errors import MalformedExpression, UnknownTopology

__all__ = ["WEIGHTINGS", "Expression", "find_family", "parse"]

WEIGHTINGS = ("metropolis-hastings", "max-degree", "uniform", "lazy", "fastest")
"""How the links of a graph may weigh; ``lazy`` is half Metropolis–Hastings, half oneself."""

_WEIGHTS = Parameter("weights", "word")
_SHUFFLED = Parameter("shuffled", "whole number")


@dataclass(frozen=True, slots=True)
class Expression:
    """A read expression: a family and the values of its parameters.

    Attributes
    ----------
    text : str
        As it was written.
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
    values: Mapping[str, object]
    weights: str | None
    shuffled: int | None


def find_family(name: str) -> Family:
    """Return the family of this name.

    Raises
    ------
    UnknownTopology
        If there is none; the error names those that come near.
    """
    by_name = {family.name: family for family in FAMILIES}
    wanted = name.strip().lower().replace("_", "-")
    if wanted in by_name:
        return by_name[wanted]
    near = get_close_matches(wanted, by_name, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    raise UnknownTopology(
        f"there is no topology {name!r}",
        remedy=f"{hint}`gossipfl topology list` shows all {len(by_name)}",
    )


def parse(text: str) -> Expression:
    """Read an expression.

    Raises
    ------
    UnknownTopology
        If its family is unknown.
    MalformedExpression
        If a value is missing, left over, unknown or not what its parameter takes.
    """
    name, _, rest = text.strip().partition(":")
    family = find_family(name)
    extras = (_SHUFFLED,) if family.is_sequence else (_WEIGHTS, _SHUFFLED)
    known = {parameter.name: parameter for parameter in (*family.parameters, *extras)}
    given: dict[str, object] = {}
    for position, part in enumerate(_split(rest, text)):
        label, equals, value = part.partition("=")
        if equals and _is_name(label):
            label = label.strip().replace("-", "_")
        elif position < len(family.parameters):
            label, value = family.parameters[position].name, part
        else:
            raise _malformed(text, family, f"{part.strip()!r} is one value too many")
        if label not in known:
            near = get_close_matches(label, known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise _malformed(text, family, f"{family.name} has no parameter {label!r}{hint}")
        if label in given:
            raise _malformed(text, family, f"{label} is given twice")
        given[label] = _value(text, family, known[label], value.strip())
    for parameter in family.parameters:
        if parameter.name not in given:
            if parameter.default is None:
                raise _malformed(text, family, f"{parameter.name} is missing")
            given[parameter.name] = parameter.default
    weights, shuffled = given.pop("weights", None), given.pop("shuffled", None)
    if weights is not None and weights not in WEIGHTINGS:
        raise _malformed(text, family, f"weights are one of {', '.join(WEIGHTINGS)}, not {weights!r}")
    return Expression(
        text.strip(),
        family,
        given,
        weights if isinstance(weights, str) else None,
        shuffled if isinstance(shuffled, int) else None,
    )


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


def _is_name(label: str) -> bool:
    return label.strip().replace("-", "_").isidentifier()


def _value(text: str, family: Family, parameter: Parameter, value: str) -> object:
    try:
        return _read(parameter, value)
    except ValueError:
        if parameter.reading == "topology":
            raise
        example = {"shape": ", such as 8x8"}.get(parameter.reading, "")
        raise _malformed(
            text, family, f"{parameter.name} takes a {parameter.reading}{example}, not {value!r}"
        ) from None


def _read(parameter: Parameter, value: str) -> object:
    match parameter.reading:
        case "whole number":
            return int(value.replace("_", ""))
        case "number":
            return float(value)
        case "shape":
            return tuple(int(length) for length in value.lower().split("x"))
        case "yes or no":
            answers = {"yes": True, "true": True, "no": False, "false": False}
            if value.lower() not in answers:
                raise ValueError(value)
            return answers[value.lower()]
        case "topology":
            return parse(value.removeprefix("(").removesuffix(")"))
        case _:
            if not value:
                raise ValueError(parameter.name)
            return value


def _malformed(text: str, family: Family, what: str) -> MalformedExpression:
    return MalformedExpression(
        f"cannot read {text!r}: {what}", remedy=f"Write {family.usage}, for example {family.example}"
    )
