"""Services: protocols other than exchanges that a host answers or uses, each with limits.

A service provides only the handler of its streams; their number, bytes and lifetime are limited here. Too many
streams, or too many bytes on one, are refused; too many bytes a second are delayed.
"""

from __future__ import annotations

from collections import Counter
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
from gossipfl.recent import RecentMap

__all__ = ["ServiceHandler", "Services"]

_MOST_PEERS: Final = 4096
_log = limited_logger(__name__)


ServiceHandler = Callable[[ServiceStream], Awaitable[None]]
"""Handles a stream that a peer opened; when it returns, the stream is closed. It may raise any error."""


@dataclass(slots=True)
class _Offer:
    """A service and its users' allowances."""

    handler: ServiceHandler
    limits: ServiceLimits
    taken: Counter[str] = field(default_factory=Counter)
    shares: RecentMap[str, tuple[TokenBucket, TokenBucket]] = field(
        default_factory=lambda: RecentMap(_MOST_PEERS)
    )

    def share(self, peer_id: str) -> tuple[TokenBucket, TokenBucket]:
        """Return a peer's allowances of streams and of bytes a second."""
        now, limits = trio.current_time(), self.limits
        self.shares[peer_id] = share = self.shares.get(peer_id) or (
            TokenBucket(rate=limits.streams_per_second, burst=4 * limits.streams_per_second, now=now),
            TokenBucket(rate=limits.bytes_per_second, burst=4 * limits.bytes_per_second, now=now),
        )
        return share

    @contextmanager
    def place(self, peer_id: str, *, is_valued: bool) -> Iterator[TokenBucket]:
        """Hold a place for a stream, and provide the peer's allowance of bytes."""
        limits = self.limits
        streams, volume = self.share(peer_id)
        if not streams.take(1, now=trio.current_time()):
            raise RateLimited(
                "the peer uses a service too often",
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


@dataclass(kw_only=True, eq=False)
class Services:
    """The services of a host.

    Parameters
    ----------
    find_connection : callable
        Returns a live connection to a peer id, or None.
    connect : callable
        Connects to a peer id at one of the given addresses.
    refuse : callable
        Called with the peer's id and the error of every refusal.
    """

    limits: NetworkLimits
    standing: Standing
    find_connection: Callable[[str], Connection | None]
    connect: Callable[..., Awaitable[Connection]]
    refuse: Callable[[str, GossipflError], None]

    def __post_init__(self) -> None:
        self._offers: dict[str, list[_Offer]] = {}

    @property
    def protocols(self) -> tuple[str, ...]:
        """The protocols answered now."""
        return tuple(self._offers)

    def offer(self, protocol: str, handler: ServiceHandler, limits: ServiceLimits | None = None) -> None:
        """Start answering a protocol, in place of its present handler if there is one."""
        self._offers.setdefault(protocol, []).append(_Offer(handler, limits or ServiceLimits()))

    def withdraw(self, protocol: str) -> None:
        """Undo the last offer of a protocol; streams in progress continue."""
        self._offers[protocol].pop()
        if not self._offers[protocol]:
            del self._offers[protocol]

    async def serve(self, protocol: str, connection: Connection, stream: Stream) -> None:
        """Answer a stream that the other side opened, until it ends."""
        offers, peer_id = self._offers.get(protocol), connection.peer_id
        if not offers:  # withdrawn since it was negotiated
            stream.reset()
            return
        offer = offers[-1]
        try:
            with offer.place(peer_id, is_valued=self.standing.is_valued(peer_id)) as share:
                bounded = ServiceStream(
                    connection, stream, protocol=protocol, limits=offer.limits, share=share
                )
                with trio.move_on_after(offer.limits.seconds) as deadline:
                    await offer.handler(bounded)
                    stream.close()
            if deadline.cancelled_caught:
                self.refuse(peer_id, ExchangeTimedOut("a service stream did not end in time"))
        except StreamEnded:
            stream.close()
        except StreamFailure as failure:
            _log.debug("a stream of %s ended: %s", peer_id, failure)
        except GossipflError as error:
            connection.multiplexer.useless_frames += 1  # a flood of refused streams ends the connection
            self.refuse(peer_id, error)
        except Exception:  # a bug on this side must not end the host or its other streams
            _log.exception("the service %s failed", protocol)
        finally:
            stream.reset()

    async def connection(self, peer_id: str, addresses: Sequence[str | Hearsay] = ()) -> Connection:
        """Return a connection to a peer: an existing one, or a new one to one of the addresses.

        Raises
        ------
        ExchangeFailed
            There is none, and none could be made.
        """
        return self.find_connection(peer_id) or await self.dial(peer_id, addresses)

    async def dial(
        self,
        peer_id: str,
        addresses: Sequence[str | Hearsay],
        manner: DialManner | None = None,
    ) -> Connection:
        """Make a new connection to a peer, even if there is one already; see `Dialler.dial`.

        Raises
        ------
        ExchangeFailed
            It cannot be reached at any of the addresses.
        """
        return await self.connect(peer_id, addresses, manner)

    async def open(
        self,
        peer_id: str,
        protocols: Sequence[str],
        *,
        addresses: Sequence[str | Hearsay] = (),
        limits: ServiceLimits | None = None,
    ) -> ServiceStream:
        """Open a stream to a peer's service. The caller closes or resets it.

        Parameters
        ----------
        protocols : sequence of str
            Proposed in order; if empty, nothing is negotiated.
        addresses : sequence of str or Hearsay, optional
            Addresses to dial if the peer is not connected.
        limits : ServiceLimits, optional
            Limits the stream's bytes.

        Raises
        ------
        ProtocolNotSpoken
            The peer speaks none of them.
        ExchangeFailed
            It could not be reached, or did not answer.
        """
        limits = limits or ServiceLimits()
        connection = await self.connection(peer_id, addresses)
        try:
            stream = connection.multiplexer.open()
            agreed = False
            try:
                with trio.move_on_after(self.limits.dial_seconds) as deadline:
                    protocol = await propose(stream, *protocols) if protocols else ""
                agreed = not deadline.cancelled_caught
            finally:
                if not agreed:
                    stream.reset()
        except StreamFailure as failure:
            raise ExchangeFailed(f"no stream to {peer_id} could be opened", got=failure) from failure
        if not agreed:
            raise ExchangeTimedOut(f"{peer_id} did not answer in time whether it offers a service")
        share = TokenBucket(
            rate=limits.bytes_per_second, burst=4 * limits.bytes_per_second, now=trio.current_time()
        )
        return ServiceStream(connection, stream, protocol=protocol, limits=limits, share=share)
