"""Places for exchanges that others start: counted by peer and by network, and lost by whoever is too slow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import trio

from gossipfl.errors import ExchangeTimedOut, GossipflError, PeerBusy
from gossipfl.network.addresses import prefix_of
from gossipfl.network.limits import NetworkLimits

__all__ = ["Place", "Places"]

_LOOK_SECONDS: Final = 0.25
# An exchange that has just begun shows nothing of its pace.
_BEGINNING_SECONDS: Final = 0.5


@dataclass(eq=False, slots=True, kw_only=True)
class Place:
    """An exchange under way.

    Parameters
    ----------
    peer_id, prefix : str
        Whose it is, and from which network.
    is_valued : bool
        Whether the peer has some standing.
    scope : trio.CancelScope
        Ends the exchange.
    since : float
        When the part began in which the other side's pace counts.
    moved : callable or None
        Returns the bytes moved since; None while this side is at work.
    size : int
        Bytes to be moved, as far as they are known.
    reserved : int
        Bytes of memory.
    lost : GossipflError or None
        Why the place was taken away.
    """

    peer_id: str
    prefix: str
    is_valued: bool
    scope: trio.CancelScope
    since: float
    moved: Callable[[], int] | None = None
    size: int = 0
    reserved: int = 0
    lost: GossipflError | None = None

    def wait_for(self, size: int, moved: Callable[[], int]) -> None:
        """Begin a part in which the other side has to send, or take, `size` bytes."""
        self.since, self.size, self.moved = trio.current_time(), size, moved

    def work(self) -> None:
        """Begin a part in which this side is at work."""
        self.moved = None

    def pace(self, now: float) -> float:
        """Return bytes a second in this part."""
        return 0.0 if self.moved is None else self.moved() / max(now - self.since, 1e-3)

    def lose(self, error: GossipflError) -> None:
        """Take the place away."""
        self.lost = error
        self.scope.cancel()


class Places:
    """Gives places; surplus exchanges are refused, not queued.

    A quarter of the places is kept for peers of standing. When all are taken, the slowest exchange of a stranger
    from the network with most of them gives way to one from a network with fewer.

    Parameters
    ----------
    limits : NetworkLimits
    """

    def __init__(self, limits: NetworkLimits) -> None:
        self._limits = limits
        self.taken: list[Place] = []

    @property
    def reserved_bytes(self) -> int:
        """Memory for all frames under way."""
        return sum(place.reserved for place in self.taken)

    @contextmanager
    def take(
        self, peer_id: str, *, address: str, is_valued: bool, scope: trio.CancelScope
    ) -> Iterator[Place]:
        """Hold a place for an exchange.

        Raises
        ------
        PeerBusy
            There is none.
        """
        place = Place(
            peer_id=peer_id,
            prefix=prefix_of(address),
            is_valued=is_valued,
            scope=scope,
            since=trio.current_time(),
        )
        self._make_room(place)
        self.taken.append(place)
        try:
            yield place
        finally:
            if place in self.taken:
                self.taken.remove(place)

    def reserve(self, place: Place, size: int) -> None:
        """Reserve memory for a frame of `size` bytes; one alone is let through whatever its size.

        Raises
        ------
        PeerBusy
            Too much is reserved.
        """
        reserved = self.reserved_bytes
        if reserved and reserved + size > self._limits.inbound_bytes:
            raise PeerBusy("too many bytes are under way")
        place.reserved += size

    async def keep_pace(self) -> None:
        """Take the places of exchanges that are too slow to end in time, until cancelled.

        After a grace, an exchange must have moved as much as `slowest_bytes_per_second` gives, and as much as
        half the pace that would end it at its deadline.
        """
        limits = self._limits
        while True:
            await trio.sleep(_LOOK_SECONDS)
            now = trio.current_time()
            for place in list(self.taken):
                late = now - place.since - limits.grace_seconds
                if place.moved is None or late <= 0:
                    continue
                pace = max(limits.slowest_bytes_per_second, place.size / (2 * limits.exchange_seconds))
                if place.moved() < min(place.size, pace * late):
                    place.lose(ExchangeTimedOut("a peer's exchange was too slow to end in time"))

    def _make_room(self, newcomer: Place) -> None:
        limits = self._limits
        own = strangers = 0
        for place in self.taken:
            own += place.peer_id == newcomer.peer_id
            strangers += not place.is_valued
        if own >= limits.inbound_exchanges_per_peer:
            raise PeerBusy("too many exchanges are under way")
        most = limits.inbound_exchanges
        if len(self.taken) < most and (newcomer.is_valued or strangers < most - most // 4):
            return
        self._take_from_slowest(newcomer)

    def _take_from_slowest(self, newcomer: Place) -> None:
        strangers = [place for place in self.taken if not place.is_valued]
        crowds = Counter(place.prefix for place in strangers)
        now = trio.current_time()
        giving_way = [
            place
            for place in strangers
            if place.moved is not None
            and now - place.since > _BEGINNING_SECONDS
            and (newcomer.is_valued or crowds[place.prefix] > crowds[newcomer.prefix] + 1)
        ]
        if not giving_way:
            raise PeerBusy("too many exchanges are under way")
        slowest = min(giving_way, key=lambda place: (-crowds[place.prefix], place.pace(now)))
        self.taken.remove(slowest)
        slowest.lose(PeerBusy("the place was needed for another peer"))
