"""Memory for the models of others: reserved before they are received, and until they have been merged."""

from __future__ import annotations

from collections.abc import Callable

from gossipfl.errors import PeerBusy

__all__ = ["Reservation", "RowMemory"]


class RowMemory:
    """A limited number of bytes, all of them for rows from other peers. A single row always has room.

    Parameters
    ----------
    limit : int
        Bytes.

    Attributes
    ----------
    kept : callable
        Returns the bytes of rows that were received and are still needed.
    make_room : callable
        Called with the bytes that may be spent on what nobody needs.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.reserved = 0
        self.kept: Callable[[], int] = int
        self.make_room: Callable[[int], None] = lambda _: None

    def has_room(self, size: int) -> bool:
        """Whether so many bytes are free, or all."""
        used = self.reserved + self.kept()
        return not used or used + size <= self.limit

    def reserve(self, size: int) -> Reservation:
        """Reserve memory.

        Raises
        ------
        PeerBusy
            Too much is reserved or in use.
        """
        if not self.has_room(size):
            raise PeerBusy("too many bytes are in transit")
        reservation = Reservation(self, size)
        self.make_room(self.free)
        return reservation

    @property
    def free(self) -> int:
        """Bytes that are neither reserved nor in use."""
        return max(0, self.limit - self.reserved - self.kept())


class Reservation:
    """Reserved memory, until it is released."""

    def __init__(self, memory: RowMemory, size: int) -> None:
        self._memory = memory
        self.size = size
        memory.reserved += size

    def release(self) -> None:
        """Release it; once is enough."""
        self._memory.reserved -= self.size
        self.size = 0
