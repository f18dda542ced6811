"""Numbers as whole multiples of a small unit, whose sums are exact in any order."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation, localcontext
from typing import Final

__all__ = ["MOST_UNITS", "PLACES", "decimal_of", "from_units", "squared_decimal_of", "to_units"]

PLACES: Final = 12
"""Decimal places of the unit, 10**-12."""

MOST_UNITS: Final = 10**15 * 10**PLACES
"""Numbers of this size, 10**15, and larger ones are no numbers of a table."""


def to_units(text: str) -> int | None:
    """Return the number that a text holds, in units, rounded half to even; None if it holds none.

    Examples
    --------
    >>> to_units("2.5"), to_units("-1e-13"), to_units("NaN"), to_units("1e15"), to_units("two")
    (2500000000000, 0, None, None, None)
    """
    try:
        number = Decimal(text.strip())
        if not number.is_finite() or number.adjusted() > 15:
            return None
        with localcontext(prec=60) as context:
            units = int(context.quantize(number, Decimal(1).scaleb(-PLACES)).scaleb(PLACES))
    except InvalidOperation:
        return None
    return units if abs(units) < MOST_UNITS else None


def from_units(units: int) -> float:
    """Return the nearest float."""
    return units / 10**PLACES


def decimal_of(units: int) -> str:
    """Write a number of units as a decimal number, exactly."""
    return _written(units, PLACES)


def squared_decimal_of(units: int) -> str:
    """Write a number of squared units as a decimal number, exactly."""
    return _written(units, 2 * PLACES)


def _written(units: int, places: int) -> str:
    whole, part = divmod(abs(units), 10**places)
    fraction = f"{part:0{places}d}".rstrip("0")
    return f"{'-' if units < 0 else ''}{whole}{'.' if fraction else ''}{fraction}"
