"""Places for exchanges that others start: limited by peer and by network, and lost if too slow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import trio

from gossipfl.errors import PeerBusy
from gossipfl.network.addresses import prefix_of
from gossipfl.network.limits import NetworkLimits
from gossipfl.network.memory import Reservation, RowMemory
from gossipfl.network.pace import Progress, keep_pace

__all__ = ["Place", "Places"]

# The pace of an exchange cannot be judged before this.
_BEGINNING_SECONDS: Final = 0.5


@dataclass(eq=False, slots=True, kw_only=True)
class Place(Progress):
    """An exchange in progress.

    Parameters
    ----------
    peer_id, prefix : str
        The peer, and its network.
    is_valued : bool
        Whether the peer has standing.
    reservation : Reservation or None
        Memory for its frame.
    is_offered : bool
        Whether a large row is offered whose body has not been cleared.
    """

    peer_id: str
    prefix: str
    is_valued: bool
    reservation: Reservation | None = None
    is_offered: bool = False

    def hand_over(self) -> None:
        """Release the memory, for which somebody else accounts from now on."""
        if self.reservation is not None:
            self.reservation.release()


class Places:
    """A limited number of places; surplus exchanges are refused, not queued.

    A quarter of the places is reserved for peers with standing. When all are taken, an exchange from another
    network displaces the slowest exchange without standing from the network that holds most places.
    """

    def __init__(self, limits: NetworkLimits, memory: RowMemory | None = None) -> None:
        self._limits = limits
        self.memory = memory or RowMemory(limits.inbound_bytes)
        self.taken: list[Place] = []

    @contextmanager
    def take(
        self, peer_id: str, *, address: str, is_valued: bool, scope: trio.CancelScope
    ) -> Iterator[Place]:
        """Hold a place for an exchange.

        Raises
        ------
        PeerBusy
            No place is free.
        """
        place = Place(
            peer_id=peer_id,
            prefix=prefix_of(address),
            is_valued=is_valued,
            scope=scope,
            since=trio.current_time(),
            seconds=self._limits.exchange_seconds,
        )
        self._make_room(place)
        self.taken.append(place)
        try:
            yield place
        finally:
            place.hand_over()
            if place in self.taken:
                self.taken.remove(place)

    def reserve(self, place: Place, size: int) -> None:
        """Reserve memory for a frame that takes `size` bytes until it is merged.

        Half of the memory is only for those of whom no other frame is on its way, or a peer that sends several
        slowly would keep all others out.

        Raises
        ------
        PeerBusy
            Too much is reserved.
        """
        sends_others = any(
            each.peer_id == place.peer_id and each.reservation is not None and each.reservation.size
            for each in self.taken
        )
        if sends_others and not self.memory.has_room(size + self.memory.limit // 2):
            raise PeerBusy("too many bytes of one peer are in transit")
        place.reservation = self.memory.reserve(size)

    async def keep_pace(self) -> None:
        """End exchanges that are too slow, until cancelled."""
        await keep_pace(self._limits, self.taken)

    def _make_room(self, newcomer: Place) -> None:
        limits = self._limits
        own = strangers = 0
        for place in self.taken:
            own += place.peer_id == newcomer.peer_id
            strangers += not place.is_valued
        if own >= limits.inbound_exchanges_per_peer:
            raise PeerBusy("too many exchanges are in progress")
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
            raise PeerBusy("too many exchanges are in progress")
        slowest = min(giving_way, key=lambda place: (-crowds[place.prefix], place.pace(now)))
        self.taken.remove(slowest)
        slowest.hand_over()
        slowest.lose(PeerBusy("the place was needed for another peer"))
