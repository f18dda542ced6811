"""Caps on the bytes a second of a whole host, in one direction."""

from __future__ import annotations

from typing import Final

__all__ = ["Cap"]

#: What may pass at once after a pause, so that no ten seconds hold much more than ten seconds' worth.
_BURST_SECONDS: Final = 0.1
_SMALLEST_PIECE: Final = 4 * 1024
#: What the other side of each connection may send before this one has read it.
_WINDOW_SECONDS: Final = 0.05


class Cap:
    """A token bucket that is charged for what has passed, and says how long to wait before more does.

    Parameters
    ----------
    bytes_per_second : float
    now : float
        Seconds of the caller's monotonic clock, as in all methods.
    """

    def __init__(self, bytes_per_second: float, *, now: float) -> None:
        self.bytes_per_second = bytes_per_second
        self._level = 0.0
        self._updated = now

    @property
    def piece(self) -> int:
        """Bytes that should pass at once at most, so that none of many connections waits long for its share."""
        return max(_SMALLEST_PIECE, int(_BURST_SECONDS * self.bytes_per_second))

    @property
    def window(self) -> int:
        """Bytes that a connection should have on its way at most: those that are not read pass all the same."""
        return max(_SMALLEST_PIECE, int(_WINDOW_SECONDS * self.bytes_per_second))

    def charge(self, size: int, *, now: float) -> None:
        """Charge for `size` bytes that have passed."""
        self._refill(now)
        self._level -= size

    def wait(self, now: float) -> float:
        """Return in how many seconds more bytes may pass; 0 if they may now."""
        self._refill(now)
        return max(0.0, -self._level / self.bytes_per_second)

    def _refill(self, now: float) -> None:
        burst = _BURST_SECONDS * self.bytes_per_second
        self._level = min(burst, self._level + (now - self._updated) * self.bytes_per_second)
        self._updated = now
