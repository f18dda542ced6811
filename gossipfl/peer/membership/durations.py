"""Valid numbers of days and hours."""

from __future__ import annotations

from typing import Final

from gossipfl.errors import MembershipError

__all__ = ["days_of", "hours_of"]

_MOST_DAYS: Final = 36_500


def days_of(days: float, *, least: float = 0.001) -> float:
    """Return a valid number of days, or raise `MembershipError`."""
    return _within(days, least=least, most=_MOST_DAYS, unit="days")


def hours_of(hours: float) -> float:
    """Return a valid number of hours, or raise `MembershipError`."""
    return _within(hours, least=0.01, most=24 * _MOST_DAYS, unit="hours")


def _within(number: float, *, least: float, most: float, unit: str) -> float:
    if not least <= number <= most:
        raise MembershipError(
            f"the number of {unit} is out of range", expected=f"{least:g} to {most}", got=f"{number:g}"
        )
    return number
