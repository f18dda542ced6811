"""Weekly hours, such as ``Mon-Fri 22:00-06:30``, in a time zone."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

from topology.spelling import did_you_mean

__all__ = ["Hours", "parse_hours", "parse_zone"]

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_TIMES = re.compile(r"(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})", re.ASCII)
_DAY_MINUTES: Final = 24 * 60
_EXPECTED: Final = "expected e.g. '22:00-06:30' or 'Mon-Fri,Sun 09:00-17:00'"


@dataclass(frozen=True, slots=True)
class Hours:
    """A range of local times on some days of the week.

    A range that ends before it begins goes on into the next day, and belongs to the day of its beginning.

    Parameters
    ----------
    days : frozenset of int
        On which it begins; Monday is 0.
    begin, end : int
        Minutes since midnight; the end is not included.

    Examples
    --------
    >>> night = parse_hours("Fri 22:00-06:30")
    >>> night.include(datetime(2026, 11, 28, 6, 29))  # a Saturday
    True
    >>> night.include(datetime(2026, 11, 27, 6, 29))
    False
    """

    days: frozenset[int]
    begin: int
    end: int

    def include(self, moment: datetime) -> bool:
        """Return whether a local time is in the range."""
        minute, today = 60 * moment.hour + moment.minute, moment.weekday()
        if self.begin < self.end:
            return today in self.days and self.begin <= minute < self.end
        began_yesterday = (today - 1) % 7 in self.days and minute < self.end
        return began_yesterday or (today in self.days and minute >= self.begin)


def parse_hours(text: str) -> Hours:
    """Read a range of hours.

    Raises
    ------
    ValueError
        It is none.
    """
    *days, times = text.split() or [""]
    found = _TIMES.fullmatch(times)
    if found is None or len(days) > 1:
        raise ValueError(f"{text!r} is no range of hours: {_EXPECTED}")
    begin_hour, begin_minute, end_hour, end_minute = map(int, found.groups())
    begin, end = 60 * begin_hour + begin_minute, 60 * end_hour + end_minute
    if max(begin_minute, end_minute) > 59 or begin >= _DAY_MINUTES or end > _DAY_MINUTES:
        raise ValueError(f"{times!r} is no range of hours: expected times from 00:00 to 24:00")
    if begin == end:
        raise ValueError(f"{times!r} is empty: write 00:00-24:00 for whole days")
    return Hours(_parse_days(days[0]) if days else frozenset(range(7)), begin, end)


def _parse_days(text: str) -> frozenset[int]:
    days: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        begin, end = _day(first), _day(last or first)
        days |= {day % 7 for day in range(begin, begin + (end - begin) % 7 + 1)}
    return frozenset(days)


def _day(name: str) -> int:
    if name not in _DAYS:
        hint = did_you_mean(name, _DAYS) or f"expected one of {', '.join(_DAYS)}"
        raise ValueError(f"there is no day {name!r}: {hint}")
    return _DAYS.index(name)


def parse_zone(name: str) -> tzinfo:
    """Return a time zone by its name in the IANA database.

    Raises
    ------
    ValueError
        There is none of this name.
    """
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        known: Iterable[str] = zoneinfo.available_timezones()
        hint = did_you_mean(name, sorted(known)) or "expected e.g. Europe/Paris or UTC"
        raise ValueError(f"there is no time zone {name!r}: {hint}") from None
