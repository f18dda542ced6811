"""The agenda of a clock: what is yet to happen, and rows that are being transferred meanwhile."""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from sims.clock.plain import Event
from sims.clock.transfers import Transfers

__all__ = ["Agenda"]


class Agenda:
    """Events in the order of their times, and of their numbers at the same time.

    Parameters
    ----------
    transfers : Transfers

    Attributes
    ----------
    events : list of Event
        A heap.
    order : int
        Number of the newest event.
    """

    def __init__(self, transfers: Transfers) -> None:
        self.transfers = transfers
        self.events: list[Event] = []
        self.order = 0

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return self.transfers.now

    def at(self, time: float, happens: Callable[..., None], *about: Any) -> None:  # noqa: ANN401
        """Have a method called at a time, with plain values."""
        self.order += 1
        heappush(self.events, (time, self.order, happens, about))

    def after(self, seconds: float, happens: Callable[..., None], *about: Any) -> None:  # noqa: ANN401
        """Have it called so many seconds from now."""
        self.at(self.now + seconds, happens, *about)

    def advance(self, transferred: Callable[..., None]) -> None:
        """Let time pass to whatever is next: the end of transfers, which is told, or all events of a moment."""
        next_event = self.events[0][0] if self.events else math.inf
        next_end = self.transfers.next_end()
        if next_end <= next_event:
            for key in self.transfers.advance(next_end):
                transferred(*key)
            return
        for key in self.transfers.advance(next_event):
            transferred(*key)
        while self.events and self.events[0][0] <= next_event:
            _, _, happens, about = heappop(self.events)
            happens(*about)
