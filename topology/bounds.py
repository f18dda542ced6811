"""Bounds of parameters: the types that state them, and the checks that enforce them."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Ge, Interval

from topology.errors import InvalidParameter

__all__ = ["Natural", "Positive", "Share", "check_at_least", "check_fraction"]

Natural = Annotated[int, Ge(0)]
Positive = Annotated[int, Ge(1)]
Share = Annotated[float, Interval(ge=0, le=1)]


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


def check_fraction(name: str, value: float, *, least: float = 0.0) -> float:
    """Return `value` as a float, or raise `InvalidParameter` unless ``least <= value <= 1``."""
    given: object = value
    if not isinstance(given, float | int | np.floating) or not least <= value <= 1:
        raise InvalidParameter(
            f"{name} is out of range",
            expected=f"a number from {least:g} to 1",
            got=repr(value),
            remedy=f"Pass {name} as a share of one, not of a hundred",
        )
    return float(value)
