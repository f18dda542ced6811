"""Bounds of parameters: the types that state them, and the checks that enforce them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Annotated, get_args

import numpy as np
from annotated_types import Ge, Interval

from topology.errors import ImpossibleDegree, InvalidParameter

__all__ = [
    "Natural",
    "Positive",
    "Share",
    "check_at_least",
    "check_choice",
    "check_degree",
    "check_fraction",
    "check_number",
    "is_within",
]

Natural = Annotated[int, Ge(0)]
Positive = Annotated[int, Ge(1)]
Share = Annotated[float, Interval(ge=0, le=1)]

_SIGNS: Mapping[str, tuple[str, Callable[[float, float], bool]]] = {
    "gt": (">", operator.gt),
    "ge": (">=", operator.ge),
    "lt": ("<", operator.lt),
    "le": ("<=", operator.le),
}


def is_within(value: float, **bounds: float) -> bool:
    """Whether a number is within its bounds: ``gt``, ``ge``, ``lt``, ``le``, as of `annotated_types.Interval`."""
    return all(_SIGNS[sign][1](value, end) for sign, end in bounds.items())


def check_at_least(name: str, value: int, least: int) -> int:
    """Return `value` as an int, or raise `InvalidParameter` unless it is an integer of at least `least`."""
    given: object = value
    if not isinstance(given, int | np.integer) or isinstance(given, bool) or value < least:
        raise InvalidParameter(
            f"{name} is out of range",
            expected=f"an integer of at least {least}",
            got=repr(value),
            remedy=f"Pass {name}={least} or more",
        )
    return int(value)


def check_number(name: str, value: float, *, remedy: str | None = None, **bounds: float) -> float:
    """Return `value` as a float, or raise `InvalidParameter` unless it is a number within its bounds."""
    given: object = value
    if not isinstance(given, Real) or not is_within(value, **bounds):
        raise InvalidParameter(
            f"{name} is out of range",
            expected=" and ".join(f"{name} {_SIGNS[sign][0]} {end:g}" for sign, end in bounds.items()),
            got=repr(value),
            remedy=remedy,
        )
    return float(value)


def check_fraction(name: str, value: float) -> float:
    """Return `value` as a float, or raise `InvalidParameter` unless it is a number from 0 to 1."""
    return check_number(name, value, ge=0, le=1, remedy=f"Pass {name} as a share of one, not of a hundred")


def check_choice(name: str, value: str, choices: object) -> None:
    """Raise `InvalidParameter` unless `value` is one of the words of a `Literal` type."""
    words = get_args(choices)
    if value not in words:
        raise InvalidParameter(
            f"{name} is unknown",
            expected=" or ".join(map(repr, words)),
            got=repr(value),
            remedy="Pass one of these",
        )


def check_degree(
    n: int, degree: int, *, directed: bool = False, name: str = "degree", remedy: str = ""
) -> None:
    """Raise `ImpossibleDegree` unless a simple graph on `n` nodes has this degree; `remedy` is another way out."""
    if degree >= n:
        raise ImpossibleDegree(
            f"no simple graph on {n} nodes has degree {degree}",
            expected=f"{name} of at most n - 1 = {n - 1}",
            got=degree,
            remedy=f"Lower {name} or take more nodes",
        )
    if not directed and n * degree % 2:
        raise ImpossibleDegree(
            f"no graph on {n} nodes has degree {degree}, because every edge has two ends",
            expected=f"n·{name} even",
            got=n * degree,
            remedy=f"Take n={n + 1}, or {name}={degree - 1} or {degree + 1}{remedy}",
        )
