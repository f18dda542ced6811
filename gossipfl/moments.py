"""Points in time as text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

__all__ = ["moment"]

# The last second of the year 9999, the latest that `datetime` can hold.
_LATEST: Final = 253_402_300_799


def moment(seconds: float) -> str:
    """Return a time, in seconds since 1970, as text with the minute, in UTC."""
    return datetime.fromtimestamp(min(max(seconds, 0), _LATEST), UTC).strftime("%Y-%m-%d %H:%M UTC")
