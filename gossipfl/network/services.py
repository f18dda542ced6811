"""Services beside exchanges: protocols that a host answers or asks for, and how much each may use.

Whoever offers a service says what to do with a stream; how many streams, bytes and seconds peers get of it is
decided here. Too many streams, or too many bytes on one, are refused; too many bytes a second are held back.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import trio

from gossipfl.errors import ExchangeFailed, ExchangeTimedOut, GossipflError, PeerBusy, RateLimited
from gossipfl.network.addresses import Hearsay
from gossipfl.network.connection import Connection
from gossipfl.network.dialling import DialManner
from gossipfl.network.failures import StreamEnded, StreamFailure
from gossipfl.network.limits import NetworkLimits
from gossipfl.network.log_limits import limited_logger
from gossipfl.network.multistream import propose
from gossipfl.network.rates import TokenBucket
from gossipfl.network.service_streams import ServiceLimits, ServiceStream
from gossipfl.network.standing import Standing
from gossipfl.network.yamux.stream import Stream

__all__ = ["ServiceHandler", "Services"]

_MOST_PEERS: Final = 4096
_log = limited_logger(__name__)


ServiceHandler = Callable[[ServiceStream], Awaitable[None]]
"""Does what a peer asks for on a stream; when it returns, the stream is closed. It may raise any error."""


@dataclass(slots=True)
class _Offer:
    """A service with what its users have used."""

    handler: ServiceHandler
    limits: ServiceLimits
    taken: Counter[str] = field(default_factory=Counter)
    shares: OrderedDict[str, tuple[TokenBucket, TokenBucket]] = field(default_factory=OrderedDict)

    def share(self, peer_id: str) -> tuple[TokenBucket, TokenBucket]:
        """Return what a peer has left of streams, and of bytes, a second."""
        now, limits = trio.current_time(), self.limits
        self.shares[peer_id] = share = self.shares.pop(peer_id, None) or (
            TokenBucket(rate=limits.streams_per_second, burst=4 * limits.streams_per_second, now=now),
            TokenBucket(rate=limits.bytes_per_second, burst=4 * limits.bytes_per_second, now=now),
        )
        if len(self.shares) > _MOST_PEERS:
            self.shares.popitem(last=False)
        return share

    @contextmanager
    def place(self, peer_id: str, *, is_valued: bool) -> Iterator[TokenBucket]:
        """Hold a place for a stream; give the peer's share of bytes."""
        limits = self.limits
        streams, volume = self.share(peer_id)
        if not streams.take(1, now=trio.current_time()):
            raise RateLimited(
                "the peer asks for a service too often",
                expected=f"at most {limits.streams_per_second:g} times a second",
            )
        most = limits.streams if is_valued else limits.streams - limits.streams // 4
        if self.taken[peer_id] >= limits.streams_per_peer or self.taken.total() >= most:
            raise PeerBusy("too many streams of a service are open")
        self.taken[peer_id] += 1
        try:
            yield volume
        finally:
            self.taken[peer_id] -= 1
            if not self.taken[peer_id]:
                del self.taken[peer_id]


class Services:
    """The services of a host.

    Parameters
    ----------
    limits : NetworkLimits
    standing : Standing
    find_connection : callable
        Returns a live connection to a peer id, or None.
    connect : callable
        Makes a connection to a peer id at one of some addresses.
    refuse : callable
        Is handed the peer's id and the error of everything refused.
    """

    def __init__(
        self,
        *,
        limits: NetworkLimits,
        standing: Standing,
        find_connection: Callable[[str], Connection | None],
        connect: Callable[..., Awaitable[Connection]],
        refuse: Callable[[str, GossipflError], None],
    ) -> None:
        self._limits = limits
        self._standing = standing
        self._find_connection = find_connection
        self._connect = connect
        self._refuse = refuse
        self._offers: dict[str, list[_Offer]] = {}

    @property
    def protocols(self) -> tuple[str, ...]:
        """What is offered now."""
        return tuple(self._offers)

    def offer(self, protocol: str, handler: ServiceHandler, limits: ServiceLimits | None = None) -> None:
        """Answer a protocol from now on, in the place of whoever does."""
        self._offers.setdefault(protocol, []).append(_Offer(handler, limits or ServiceLimits()))

    def withdraw(self, protocol: str) -> None:
        """Answer a protocol no more, or as before the last offer; streams under way go on."""
        self._offers[protocol].pop()
        if not self._offers[protocol]:
            del self._offers[protocol]

    async def serve(self, protocol: str, connection: Connection, stream: Stream) -> None:
        """Answer a stream that the other side opened, until it ends."""
        offers, peer_id = self._offers.get(protocol), connection.peer_id
        if not offers:  # withdrawn since it was agreed upon
            stream.reset()
            return
        offer = offers[-1]
        try:
            with offer.place(peer_id, is_valued=self._standing.is_valued(peer_id)) as share:
                bounded = ServiceStream(
                    connection, stream, protocol=protocol, limits=offer.limits, share=share
                )
                with trio.move_on_after(offer.limits.seconds) as deadline:
                    await offer.handler(bounded)
                    stream.close()
            if deadline.cancelled_caught:
                self._refuse(peer_id, ExchangeTimedOut("a stream of a service was not over in time"))
        except StreamEnded:
            stream.close()
        except StreamFailure as failure:
            _log.debug("a stream of %s ended: %s", peer_id, failure)
        except GossipflError as error:
            connection.multiplexer.useless_frames += 1  # a flood of refused streams ends the connection
            self._refuse(peer_id, error)
        except Exception:  # a fault of this side; the host and its other streams live on
            _log.exception("the service %s failed", protocol)
        finally:
            stream.reset()

    async def connection(self, peer_id: str, addresses: Sequence[str | Hearsay] = ()) -> Connection:
        """Return a connection to a peer: one that is there, or a new one to one of the addresses.

        Raises
        ------
        ExchangeFailed
            There is none, and none could be made.
        """
        return self._find_connection(peer_id) or await self.dial(peer_id, addresses)

    async def dial(
        self,
        peer_id: str,
        addresses: Sequence[str | Hearsay],
        manner: DialManner | None = None,
    ) -> Connection:
        """Make a connection to a peer, whether or not there is one; see `Dialler.dial`.

        Raises
        ------
        ExchangeFailed
            It cannot be reached at any of the addresses.
        """
        return await self._connect(peer_id, addresses, manner)

    async def open(
        self,
        peer_id: str,
        protocols: Sequence[str],
        *,
        addresses: Sequence[str | Hearsay] = (),
        limits: ServiceLimits | None = None,
    ) -> ServiceStream:
        """Ask a peer for a service. Whoever asks closes or resets the stream.

        Parameters
        ----------
        peer_id : str
        protocols : sequence of str
            Proposed one after the other; if there are none, nothing is agreed upon.
        addresses : sequence of str or Hearsay, optional
            Where to dial the peer if it is not connected.
        limits : ServiceLimits, optional
            Bounds the stream's bytes.

        Raises
        ------
        ProtocolNotSpoken
            The peer offers none of them.
        ExchangeFailed
            It could not be asked.
        """
        limits = limits or ServiceLimits()
        connection = await self.connection(peer_id, addresses)
        try:
            stream = connection.multiplexer.open()
            agreed = False
            try:
                with trio.move_on_after(self._limits.dial_seconds) as deadline:
                    protocol = await propose(stream, *protocols) if protocols else ""
                agreed = not deadline.cancelled_caught
            finally:
                if not agreed:
                    stream.reset()
        except StreamFailure as failure:
            raise ExchangeFailed(f"{peer_id} opened no stream", got=failure) from failure
        if not agreed:
            raise ExchangeTimedOut(f"{peer_id} did not say in time whether it offers a service")
        share = TokenBucket(
            rate=limits.bytes_per_second, burst=4 * limits.bytes_per_second, now=trio.current_time()
        )
        return ServiceStream(connection, stream, protocol=protocol, limits=limits, share=share)
