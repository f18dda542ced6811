"""Meetings: exchanges of views with neighbours, sampled names and acquaintances."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import InitVar, dataclass
from typing import Final

import trio

from gossipfl.errors import ExchangeFailed, MessageRefused, PeerBusy, RefusedByNeighbour
from gossipfl.network import Host, Scope
from gossipfl.network.rates import TokenBucket
from gossipfl.peer.first_errors import FirstErrors
from gossipfl.peer.gossip.known_peer import KnownPeer
from gossipfl.peer.gossip.view import SampledView
from gossipfl.settings import ViewSettings
from gossipfl.wire import Frame, View, encode

__all__ = ["Meetings"]

logger = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 0.25
_MEETING_SECONDS: Final = 5.0
_EAGER_TICKS: Final = 8.0
#: Simultaneous meetings with names; neighbours have as many slots of their own.
_MOST_NAMES: Final = 4


@dataclass(kw_only=True, eq=False)
class Meetings:
    """Carries out the meetings that the view of a gossiping peer requests.

    Parameters
    ----------
    task : bytes
        Fingerprint of the task.
    deadline : float
        Longest time of an exchange in seconds.
    """

    host: Host
    view: SampledView
    task: bytes
    settings: ViewSettings
    deadline: InitVar[float]

    def __post_init__(self, deadline: float) -> None:
        self._seconds = min(deadline, _MEETING_SECONDS)
        self._under_way: dict[str, bool] = {}
        self.errors = FirstErrors(logger)

    async def run(self) -> None:
        """Meet others each period, or sooner while there is room for newcomers or when alone, until cancelled.

        A meeting that hangs occupies one of a few slots until its deadline, and nothing waits for it.
        """
        look = min(_LOOK_SECONDS, self.settings.period)
        eager = TokenBucket(rate=1 / self.settings.period, burst=_EAGER_TICKS, now=trio.current_time())
        next_tick = trio.current_time()
        async with trio.open_nursery() as nursery:
            while True:
                now = trio.current_time()
                if now >= next_tick or (self.view.wants_to_tick and eager.take(1, now=now)):
                    next_tick = now + self.settings.period
                    for peer in self.view.tick():
                        self._begin(nursery.start_soon, peer)
                if (gone := self.view.due(self._under_way)) is not None:
                    self._begin(nursery.start_soon, gone)
                await trio.sleep(look)

    def answer(self, peer_id: str, message: View) -> Frame:
        """Answer a peer's request for part of the view."""
        self.host.observed(message.observed, observer=peer_id)
        told = self.view.asked_by(peer_id, message.peers, scope=self._scope(peer_id))
        return encode(View(task=self.task, peers=told, observed=self.host.remote_address(peer_id)))

    def _begin(self, start_soon: Callable[..., None], peer: KnownPeer) -> None:
        is_name = peer.peer_id not in self.view.neighbours
        if peer.peer_id in self._under_way or peer.retry_at > trio.current_time():
            return
        if sum(each == is_name for each in self._under_way.values()) >= _MOST_NAMES:
            return
        self._under_way[peer.peer_id] = is_name
        start_soon(self._meet, peer)

    async def _meet(self, peer: KnownPeer) -> None:
        peer_id = peer.peer_id
        own = View(task=self.task, peers=self.view.own_word(), observed=self.host.remote_address(peer_id))
        try:
            reply = await self.host.exchange(peer_id, peer.addresses, encode(own), seconds=self._seconds)
        except PeerBusy:
            return
        except (ExchangeFailed, MessageRefused) as error:
            self.view.failed(peer_id, now=trio.current_time())
            if isinstance(error, MessageRefused | RefusedByNeighbour):
                self.errors.log(f"neighbour {peer_id[:16]}…", error)
            return
        finally:
            del self._under_way[peer_id]
        if isinstance(reply, View):
            self.host.observed(reply.observed, observer=peer_id)
            scope, now = self._scope(peer_id), trio.current_time()
            self.view.answered_by(peer_id, reply.peers, scope=scope, now=now)

    def _scope(self, peer_id: str) -> Scope:
        return Scope.LOOPBACK if self.settings.narrower else self.host.scope_of(peer_id)
