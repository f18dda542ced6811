"""The side of an exchange that answers it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import trio

from gossipfl.errors import ExchangeFailed, ExchangeTimedOut, GossipflError, MessageRefused, PeerBusy
from gossipfl.network.bodies import BodyBuffers
from gossipfl.network.connection import Connection
from gossipfl.network.counters import NetworkCounters
from gossipfl.network.failures import StreamFailure
from gossipfl.network.limits import NetworkLimits
from gossipfl.network.protocol import agree_as_server
from gossipfl.network.rates import PeerRates
from gossipfl.network.receiving import REQUESTS, decode, receive
from gossipfl.network.yamux.stream import Stream
from gossipfl.wire import AnyHeader, AnyMessage, Expectation, Frame, Refusal, encode

__all__ = ["Handler", "Screen", "Server"]

Handler = Callable[[str, AnyMessage], Awaitable[Frame]]
"""Answers a peer's message. It may raise `MessageRefused` or `PeerBusy`, which the peer is told."""

Screen = Callable[[str, AnyHeader], None]
"""Looks at a header before its body is read, and raises `MessageRefused` or `PeerBusy` to refuse it."""

_REFUSAL_SECONDS: Final = 1.0
_log = logging.getLogger(__name__)


class Server:
    """Answers the exchanges that others start.

    Parameters
    ----------
    limits : NetworkLimits
    expectation : Expectation
        What messages may be.
    counters : NetworkCounters
    bodies : BodyBuffers
    punish : callable
        Is handed the peer's id and the error of everything refused, once the peer has been told.
    """

    def __init__(
        self,
        *,
        limits: NetworkLimits,
        expectation: Expectation,
        counters: NetworkCounters,
        bodies: BodyBuffers,
        punish: Callable[[str, GossipflError], None],
    ) -> None:
        self._limits = limits
        self._expectation = expectation
        self._counters = counters
        self._bodies = bodies
        self._punish = punish
        self._rates = PeerRates(
            frames_per_second=limits.frames_per_second, bytes_per_second=limits.bytes_per_second
        )
        self._under_way: Counter[str] = Counter()
        self._bytes_under_way = 0
        self.handler: Handler | None = None
        self.screen: Screen | None = None

    async def serve(self, connection: Connection, stream: Stream) -> None:
        """Answer one exchange after another on a stream the other side opened, until it ends."""
        try:
            with trio.move_on_after(self._limits.dial_seconds) as deadline:
                await agree_as_server(stream)
            while not deadline.cancelled_caught:
                with trio.move_on_after(self._limits.idle_seconds) as idle:
                    await stream.wait_readable()
                if idle.cancelled_caught:
                    stream.close()
                    return
                if not await self._answer(connection, stream):
                    return
        except StreamFailure as failure:
            _log.debug("a stream of %s ended: %s", connection.peer_id, failure)
        except MessageRefused as error:
            self._counters.count_refused(error)
            self._punish(connection.peer_id, error)
        finally:
            stream.reset()

    async def _answer(self, connection: Connection, stream: Stream) -> bool:
        """Answer one exchange; say whether another one may follow on the stream."""
        peer_id = connection.peer_id
        in_step = False
        with trio.move_on_after(self._limits.exchange_seconds) as deadline:
            try:
                with self._slot(peer_id) as reserve:
                    frame = await receive(
                        stream,
                        expectation=self._expectation,
                        kinds=REQUESTS,
                        bodies=self._bodies,
                        before_body=lambda header, size: self._screen(peer_id, header, size, reserve),
                    )
                    in_step = True
                    message = await decode(frame)
                    self._counters.count_received(frame.size)
                    reply = await self._handle(peer_id, message)
                    await stream.write_all(reply.buffers)
            except (MessageRefused, ExchangeFailed) as error:
                self._counters.count_refused(error)
                await self._send_refusal(peer_id, stream, error)
                if not in_step:
                    stream.close()
                self._punish(peer_id, error)
                return in_step
            self._counters.count_sent(reply.size)
        if deadline.cancelled_caught:
            self._counters.count_refused(ExchangeTimedOut("a peer's exchange was not over in time"))
        return not deadline.cancelled_caught

    async def _handle(self, peer_id: str, message: AnyMessage) -> Frame:
        if self.handler is None:
            raise PeerBusy("this peer does not answer yet")
        try:
            return await self.handler(peer_id, message)
        except GossipflError:
            raise
        except Exception as error:  # a fault of this side must not end the host, nor tell others its details
            _log.exception("the handler of exchanges failed")
            raise ExchangeFailed("the neighbour failed to answer") from error

    async def _send_refusal(self, peer_id: str, stream: Stream, error: GossipflError) -> None:
        try:
            with trio.move_on_after(_REFUSAL_SECONDS):
                await stream.write_all(encode(Refusal.of(error)).buffers)
        except StreamFailure as failure:
            _log.debug("%s did not wait to be refused: %s", peer_id, failure)

    def _screen(self, peer_id: str, header: AnyHeader, size: int, reserve: Callable[[int], None]) -> None:
        self._rates.charge(peer_id, size, now=trio.current_time())
        if self.screen is not None:
            self.screen(peer_id, header)
        reserve(size)

    @contextmanager
    def _slot(self, peer_id: str) -> Iterator[Callable[[int], None]]:
        """Count an exchange under way; surplus ones are refused, not queued.

        Yields a function that reserves memory for the exchange, in bytes, or refuses it too.
        """
        own, everyone = self._under_way[peer_id], self._under_way.total()
        if own >= self._limits.inbound_exchanges_per_peer or everyone >= self._limits.inbound_exchanges:
            raise PeerBusy("too many exchanges are under way")
        reserved = 0

        def reserve(size: int) -> None:
            nonlocal reserved
            if self._bytes_under_way and self._bytes_under_way + size > self._limits.inbound_bytes:
                raise PeerBusy("too many bytes are under way")
            reserved += size
            self._bytes_under_way += size

        self._under_way[peer_id] += 1
        try:
            yield reserve
        finally:
            self._bytes_under_way -= reserved
            self._under_way[peer_id] -= 1
            if not self._under_way[peer_id]:
                del self._under_way[peer_id]
