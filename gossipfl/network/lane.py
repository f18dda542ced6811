"""One direction of a host's link: the rows under way in it, how many more it can carry now, and their order."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import trio

from gossipfl.network.caps import Cap
from gossipfl.network.throughput import Throughput
from gossipfl.wire import OFFERED_BYTES

__all__ = ["Lane", "Transfer"]

#: Rows in each direction at any time. One connection does not fill a link that is in use both ways, as its
#: acknowledgements wait behind the other direction's rows (Zhang, Shenker & Clark, "Observations on the dynamics
#: of a congestion control algorithm: the effects of two-way traffic", SIGCOMM 1991), and rows begin slowly. Of
#: 1 Mbit/s a row of 1 MB filled 69 % on its way alone, two 79 %, and three 90 %.
_AT_ONCE: Final = 3
#: Of those that may turn out to take long; no fewer, as it takes two to find out.
_LONG_AT_ONCE: Final = 2
#: More may begin while those before them need so many seconds more: a fast link carries many at a time.
_OVERLAP_SECONDS: Final = 2.0
#: Between the offer of a row and its first byte.
_CLEARANCE_SECONDS: Final = 1.0
_UNMEASURED_SECONDS: Final = 1.0
_LOOKS: Final = 8
#: A single row may be at a standstill for some seconds, which is no room for another one that takes long.
_LONG_LOOKS: Final = 40
#: No link is taken to be slower: whoever crawls on one that was not measured keeps nobody else from it.
_LEAST_BYTES_PER_SECOND: Final = 32_768.0
_MOST_TURNS: Final = 8
#: Of rows that take longer alone one is under way at a time, so that they arrive one after another.
_LONG_SECONDS: Final = 30.0
#: The next one may begin when so much of its time is left, so that the link is in use meanwhile.
_OVERLAP_SHARE: Final = 0.05


@dataclass(eq=False, slots=True, kw_only=True)
class Transfer:
    """A row under way, or one that follows from an exchange under way.

    Parameters
    ----------
    size : int
        Bytes.
    moved : callable or None
        Returns the bytes transferred; None before it begins.
    is_valued : bool
        Whether the other peer has standing, or this side started the exchange.
    """

    size: int
    is_valued: bool
    moved: Callable[[], int] | None = None
    _looks: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_LOOKS))

    def begin(self) -> None:
        """Count the row as under way, before any of it has moved."""
        self.moved = int

    @property
    def remaining(self) -> int:
        """Bytes not yet transferred."""
        return self.size if self.moved is None else max(0, self.size - self.moved())

    @property
    def is_moving(self) -> bool:
        """Whether it has been under way for two seconds, and bytes have moved in them."""
        return bool(_pace(self._looks))

    def look(self, now: float) -> None:
        """Record how many bytes have moved until now."""
        if self.moved is not None:
            self._looks.append((now, self.moved()))


class Lane:
    """One direction of a host's link.

    Attributes
    ----------
    moved : int
        Bytes transferred on all connections since the host was opened.
    cap : Cap or None
        Limits them.
    """

    def __init__(self) -> None:
        self.moved = 0
        self.cap: Cap | None = None
        self._throughput = Throughput()
        self._shared = Throughput()  # while several rows moved: a single one may be slow by its other end
        self._transfers: list[Transfer] = []
        self._looks: deque[tuple[float, int]] = deque(maxlen=_LONG_LOOKS)
        self._next_turn = 0.0

    @property
    def bytes_per_second(self) -> float | None:
        """What the link carries in this direction, from the transfers of rows so far; None before the first."""
        measured = self._throughput.bytes_per_second
        if self.cap is None:
            return measured
        return min(measured or math.inf, self.cap.bytes_per_second)

    @property
    def carries(self) -> float | None:
        """As `bytes_per_second`, or before the first row has arrived the pace of those under way."""
        return self.bytes_per_second or self._pace()

    def limit(self, mbits: float | None) -> None:
        """Let all connections together transfer at most so many Mbit/s from now on, or any number."""
        self.cap = None if mbits is None else Cap(mbits * 1e6 / 8, now=trio.current_time())

    def count(self, size: int) -> None:
        """Count bytes that have been transferred."""
        self.moved += size
        if self.cap is not None:
            self.cap.charge(size, now=trio.current_time())

    def piece(self, most: int) -> int:
        """Return how many of `most` bytes to transfer at once."""
        return most if self.cap is None else min(most, self.cap.piece)

    @property
    def window(self) -> int | None:
        """Bytes that a connection should have on its way at most; None if that does not matter."""
        return None if self.cap is None else self.cap.window

    @property
    def is_capped_now(self) -> bool:
        """Whether no bytes may be transferred at this moment."""
        return self.cap is not None and self.cap.wait(trio.current_time()) > 0

    async def wait_for_cap(self) -> None:
        """Wait until bytes may be transferred."""
        while self.cap is not None and (wait := self.cap.wait(trio.current_time())):
            await trio.sleep(wait)

    def look(self, now: float) -> None:
        """Record how many bytes have moved until now, if rows are under way."""
        if not any(each.moved is not None for each in self._transfers):
            self._looks.clear()
            return
        self._looks.append((now, self.moved))
        for each in self._transfers:
            each.look(now)
        pace = _pace(self._looks, _LONG_LOOKS)  # what had piled up somewhere may move in two seconds
        if pace is not None and sum(each.is_moving for each in self._transfers) > 1:
            self._shared.note(round(pace), 1.0)

    def is_long(self, size: int) -> bool:
        """Whether a row of so many bytes would take up the link for long, as far as several rows have shown."""
        shared = self._shared.bytes_per_second
        if shared is None:
            return False
        known = max(shared, self.bytes_per_second or 0.0, _LEAST_BYTES_PER_SECOND)
        return size > _LONG_SECONDS * (known if self.cap is None else min(known, self.cap.bytes_per_second))

    def seconds_until_free(self, size: int, *, is_valued: bool, ahead: float | None = None) -> float:
        """Return in how many seconds a row may begin; 0 if it may now.

        Rows of peers without standing keep nobody waiting who has it, and rows that leave most of the link unused
        keep nobody waiting.

        Parameters
        ----------
        size : int
            Bytes. A row that would take long waits for others that do.
        ahead : float, optional
            The row is to begin in so many seconds, after others that are to follow from exchanges under way.
        """
        before = [
            each
            for each in self._transfers
            if each.size > OFFERED_BYTES
            and (each.moved is not None or ahead is not None)
            and (each.is_valued or not is_valued)
        ]
        if not before:
            return 0.0
        known = self.carries
        if known is not None and self.is_long(size) and not self._has_room(looks=_LONG_LOOKS):
            left = sum(each.remaining for each in before if self.is_long(each.size)) / known
            wait = left - max(_OVERLAP_SECONDS, _OVERLAP_SHARE * size / known)
            if wait > 0:
                return wait
        is_short = known is not None and size <= _LONG_SECONDS * known
        at_once = _AT_ONCE if is_short else _LONG_AT_ONCE
        if len(before) < at_once or self._has_room():
            return 0.0
        if known is None:
            return _UNMEASURED_SECONDS
        rest = sorted(each.remaining for each in before)
        backlog = sum(rest) / known
        if ahead is not None:
            return max(0.0, backlog - _OVERLAP_SECONDS - ahead)
        *first, last = rest[: 1 - at_once]  # once they have arrived, there are few enough
        until_few = (sum(first) + at_once * last) / known - _CLEARANCE_SECONDS
        return max(0.0, min(backlog - _OVERLAP_SECONDS, until_few))

    @property
    def is_full(self) -> bool:
        """Whether rows take up most of the link."""
        return any(each.moved is not None for each in self._transfers) and not self._has_room()

    @property
    def has_large_rows(self) -> bool:
        """Whether any rows that had to be offered are under way."""
        return any(each.moved is not None and each.size > OFFERED_BYTES for each in self._transfers)

    def turn(self, now: float, seconds: float, size: int) -> float:
        """Return in how many seconds a peer whose row of `size` bytes has to wait should come again.

        The link is free in so many `seconds`; each peer is given a time of its own after that.
        """
        known = self.bytes_per_second
        if known is None:
            return seconds
        latest = now + seconds + _MOST_TURNS * size / known
        at = min(max(now + seconds, self._next_turn), latest)
        self._next_turn = at + size / known
        return at - now

    @contextmanager
    def expecting(self, size: int, *, is_valued: bool) -> Iterator[Transfer]:
        """Count a row that follows from an exchange under way, until the end of the block."""
        transfer = Transfer(size=size, is_valued=is_valued)
        self._transfers.append(transfer)
        try:
            yield transfer
        finally:
            self._transfers.remove(transfer)

    @contextmanager
    def carrying(
        self, transfer: Transfer, size: int, moved: Callable[[], int], *, path: Throughput | None
    ) -> Iterator[None]:
        """Carry a row of `size` bytes until the end of the block, and measure the link by it.

        Parameters
        ----------
        moved : callable
            Returns the bytes of the row that have been transferred.
        path : Throughput or None
            Also measured; None if the bytes need not have arrived by the end of the block.
        """
        began, before = trio.current_time(), self.moved
        transfer.size, transfer.moved = size, moved
        yield
        if path is not None:
            seconds = trio.current_time() - began
            self._throughput.note(self.moved - before, seconds)
            path.note(moved(), seconds)

    def _has_room(self, *, looks: int = _LOOKS) -> bool:
        """Return whether the rows under way have left most of the link unused for two seconds, or longer."""
        pace = _pace(self._looks, looks)
        carries = max(self.bytes_per_second or 0.0, _LEAST_BYTES_PER_SECOND)
        return pace is not None and pace < carries / 2

    def _pace(self) -> float | None:
        """Return the bytes a second of the last two seconds, if rows were under way for as long."""
        return _pace(self._looks)


def _pace(looks: deque[tuple[float, int]], number: int = _LOOKS) -> float | None:
    """Return the bytes a second from the last look but so many to the last one; None if there were not as many."""
    if len(looks) < number:
        return None
    (since, before), (until, now) = looks[-number], looks[-1]
    return (now - before) / (until - since)
