"""Farewells: a peer that leaves for good tells its neighbours, who then do not count failures.

The protocol has no messages: opening a stream of it over an authenticated connection is the farewell.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

import trio

from gossipfl.errors import ExchangeFailed, MessageRefused, PeerBusy
from gossipfl.network import Host, ServiceLimits, ServiceStream
from gossipfl.peer.gossip.view import SampledView
from gossipfl.wire import AnyMessage, Frame

__all__ = ["FAREWELL_PROTOCOL", "Farewells"]

logger = logging.getLogger(__name__)

FAREWELL_PROTOCOL: Final = "/gossipfl/farewell/1.0.0"
_LIMITS: Final = ServiceLimits(
    streams_per_peer=1, streams_per_second=0.5, bytes=64, bytes_per_second=64.0, seconds=5.0
)
_SECONDS: Final = 2.0


@dataclass(kw_only=True, eq=False)
class Farewells:
    """Says farewell to neighbours, and hears theirs."""

    host: Host
    view: SampledView

    def __post_init__(self) -> None:
        self.host.services.offer(FAREWELL_PROTOCOL, self._hear, _LIMITS)

    async def say(self) -> None:
        """Tell all connected peers, as far as they answer soon, and answer nobody any more."""
        self.host.serve(_answer_nobody)
        with trio.move_on_after(_SECONDS):
            async with trio.open_nursery() as nursery:
                for peer_id in self.host.connected():
                    nursery.start_soon(self._say_to, peer_id)

    async def _say_to(self, peer_id: str) -> None:
        try:
            stream = await self.host.services.open(peer_id, [FAREWELL_PROTOCOL], limits=_LIMITS)
        except (ExchangeFailed, MessageRefused) as error:  # it may be of a version without farewells
            logger.debug("%s did not hear the farewell: %s", peer_id, error)
        else:
            stream.close()

    async def _hear(self, stream: ServiceStream) -> None:
        peer_id = stream.connection.peer_id
        logger.info("neighbour %s… has left", peer_id[:16])
        self.view.left(peer_id, now=trio.current_time())


async def _answer_nobody(_: str, __: AnyMessage) -> Frame:
    raise PeerBusy("this peer is leaving")
