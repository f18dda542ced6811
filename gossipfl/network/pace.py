"""Pace of exchanges: each is cut once it is too slow to finish in the time that its rows may take."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import trio

from gossipfl.errors import ExchangeTimedOut, GossipflError
from gossipfl.network.limits import NetworkLimits

__all__ = ["Progress", "keep_pace", "since"]

_LOOK_SECONDS: Final = 0.25
#: A path that many rows share may be at a standstill for some seconds.
_ROW_GRACES: Final = 3


@dataclass(eq=False, slots=True, kw_only=True)
class Progress:
    """Progress of an exchange.

    Parameters
    ----------
    scope : trio.CancelScope
        Ends the exchange.
    since : float
        Start of the current phase, in which the other side's pace counts.
    moved : callable or None
        Returns the bytes transferred in this phase; None while this side is working.
    size : int
        Bytes to transfer in this phase, as far as they are known.
    seconds : float
        Time for these bytes.
    graces : int
        Grace periods before the pace counts.
    lost : GossipflError or None
        The reason why the exchange was ended.
    """

    scope: trio.CancelScope
    since: float
    moved: Callable[[], int] | None = None
    size: int = 0
    seconds: float
    graces: int = 1
    lost: GossipflError | None = None

    def wait_for(self, size: int, moved: Callable[[], int], *, row_seconds: float | None = None) -> None:
        """Begin a phase in which the other side must send or receive `size` bytes.

        Parameters
        ----------
        row_seconds : float, optional
            Time for them, added to that of the exchange.
        """
        self.since, self.size, self.moved, self.graces = trio.current_time(), size, moved, 1
        if row_seconds is not None:
            self.seconds, self.graces = row_seconds, _ROW_GRACES
            self.scope.deadline += row_seconds

    def work(self) -> None:
        """Begin a phase in which this side is working, or the other may be."""
        self.moved = None

    def pace(self, now: float) -> float:
        """Return the bytes a second in this phase."""
        return 0.0 if self.moved is None else self.moved() / max(now - self.since, 1e-3)

    def lose(self, error: GossipflError) -> None:
        """End the exchange."""
        self.lost = error
        self.scope.cancel()

    def is_late(self, now: float, limits: NetworkLimits) -> bool:
        """Return whether the exchange is too slow.

        After the grace period, or three for a large row, it must keep up with both `slowest_bytes_per_second` and
        half the pace that would finish the phase exactly in the time for it.
        """
        late = now - self.since - self.graces * limits.grace_seconds
        if self.moved is None or late <= 0:
            return False
        pace = max(limits.slowest_bytes_per_second, self.size / (2 * self.seconds))
        return self.moved() < min(self.size, pace * late)


def since(count: Callable[[], int]) -> Callable[[], int]:
    """Return a function that returns by how much a count has grown since this call."""
    before = count()
    return lambda: count() - before


async def keep_pace(limits: NetworkLimits, under_way: Iterable[Progress]) -> None:
    """End exchanges that are too slow, until cancelled."""
    while True:
        await trio.sleep(_LOOK_SECONDS)
        now = trio.current_time()
        for progress in list(under_way):
            if progress.is_late(now, limits):
                progress.lose(ExchangeTimedOut("a peer's exchange was too slow to finish in time"))
