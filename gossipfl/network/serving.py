"""The responding side of an exchange."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import trio

from gossipfl.errors import ExchangeFailed, ExchangeTimedOut, GossipflError, MessageRefused, PeerBusy
from gossipfl.network.answers import FIRST_BYTES, Answers
from gossipfl.network.bodies import BodyBuffers
from gossipfl.network.connection import Connection
from gossipfl.network.counters import NetworkCounters
from gossipfl.network.failures import StreamEnded, StreamFailure
from gossipfl.network.lane import Lane, Transfer
from gossipfl.network.limits import NetworkLimits
from gossipfl.network.link import Link
from gossipfl.network.log_limits import limited_logger
from gossipfl.network.memory import RowMemory
from gossipfl.network.multistream import accept
from gossipfl.network.pace import since
from gossipfl.network.partials import Partials
from gossipfl.network.places import Place, Places
from gossipfl.network.protocol import (
    EXCHANGE_PROTOCOL,
    REQUESTS,
    RESUME_ANSWER_PROTOCOL,
    RESUME_PROTOCOL,
)
from gossipfl.network.rates import PeerRates
from gossipfl.network.receiving import decode, receive
from gossipfl.network.resuming import Arrival
from gossipfl.network.services import Services
from gossipfl.network.standing import Standing
from gossipfl.network.yamux.stream import Stream
from gossipfl.wire import (
    OFFERED_BYTES,
    AnyHeader,
    AnyMessage,
    Clearance,
    Expectation,
    Frame,
    ModelHeader,
    Pull,
    ReceivedFrame,
    Refusal,
    decoded_bytes,
    encode,
    row_bytes,
)

__all__ = ["Handler", "Screen", "Server"]

Handler = Callable[[str, AnyMessage], Awaitable[Frame]]
"""Answers a peer's message. It may raise `MessageRefused` or `PeerBusy`, whose code is sent to the peer."""

Screen = Callable[[str, AnyHeader], None]
"""Checks a header before its body is read, and raises `MessageRefused` or `PeerBusy` to refuse the message."""

_CLEARED: Final = encode(Clearance(retry_after=0))
_LOOK_SECONDS: Final = 0.02
#: On a slow link a refusal waits behind rows, and whoever never hears it waits until its own deadline.
_REFUSAL_SECONDS: Final = 10.0
_log = limited_logger(__name__)


@dataclass(kw_only=True, eq=False)
class Server:
    """Answers exchanges that others start.

    Parameters
    ----------
    expectation : Expectation
        What messages must match.
    services : Services
        Answer streams of other protocols.
    punish : callable
        Called with the peer's id and the error of every refusal, after the refusal has been sent.
    memory : RowMemory
        For received rows.
    """

    limits: NetworkLimits
    expectation: Expectation
    counters: NetworkCounters
    bodies: BodyBuffers
    standing: Standing
    link: Link
    services: Services
    punish: Callable[[str, GossipflError], None]
    memory: RowMemory

    def __post_init__(self) -> None:
        self._rates = PeerRates(
            frames_per_second=self.limits.frames_per_second, bytes_per_second=self.limits.bytes_per_second
        )
        self.places = Places(self.limits, self.memory)
        self.partials = Partials(trio.current_time)
        self.memory.make_room = self.partials.shrink_to
        self.answers = Answers(
            limits=self.limits,
            counters=self.counters,
            standing=self.standing,
            link=self.link,
            places=self.places,
            latest_bytes=row_bytes(self.expectation),
            on_cut=self._cut,
        )
        self.handler: Handler | None = None
        self.screen: Screen | None = None

    async def serve(self, connection: Connection, stream: Stream) -> None:
        """Answer a stream that the other side opened, for exchanges or for a service, until it ends."""
        try:
            async with connection.turns.taken():
                with trio.move_on_after(self.limits.dial_seconds) as deadline:
                    protocol = await accept(
                        stream,
                        (
                            EXCHANGE_PROTOCOL,
                            RESUME_PROTOCOL,
                            RESUME_ANSWER_PROTOCOL,
                            *self.services.protocols,
                        ),
                    )
                if deadline.cancelled_caught:
                    return
                if protocol == EXCHANGE_PROTOCOL:
                    await self._answer_all(connection, stream)
                elif protocol == RESUME_PROTOCOL:
                    await self._answer(connection, stream, resumes=True)
                    stream.close()
                elif protocol == RESUME_ANSWER_PROTOCOL:
                    await self.answers.go_on(connection, stream)
                else:
                    await self.services.serve(protocol, connection, stream)
        except StreamEnded:  # the other side has no more requests, but may still read answers
            stream.close()
        except StreamFailure as failure:
            _log.debug("a stream of %s ended: %s", connection.peer_id, failure)
        except MessageRefused as error:
            self.counters.count_refused(error)
            self.punish(connection.peer_id, error)
        finally:
            stream.reset()

    async def _answer_all(self, connection: Connection, stream: Stream) -> None:
        """Answer one exchange after another."""
        turns, answered = connection.turns, False
        while True:
            with trio.move_on_after(self.limits.idle_seconds) as idle:
                if answered:  # the first request may be on its way, and must be answered
                    turns.begin_idle(idle)
                try:
                    await stream.wait_readable()
                finally:
                    turns.end_idle(idle)
            if idle.cancelled_caught:
                stream.close()
                return
            if not await self._answer(connection, stream):
                return
            answered = True

    async def _answer(self, connection: Connection, stream: Stream, *, resumes: bool = False) -> bool:
        """Answer one exchange; return whether another may follow on the stream."""
        peer_id = connection.peer_id
        in_step, is_valued = False, self.standing.is_valued(peer_id)
        place: Place | None = None
        reply: Frame | None = None
        arrival = Arrival(stream, self.partials, peer_id, resumes=resumes)
        connection.begin_exchange()
        try:
            with trio.move_on_after(self.limits.exchange_seconds) as deadline:
                try:
                    with (
                        self.places.take(
                            peer_id, address=connection.remote_address, is_valued=is_valued, scope=deadline
                        ) as place,
                        self.link.upload.expecting(0, is_valued=is_valued) as answered,
                    ):
                        received = [await self._receive(connection, arrival, place, answered)]
                        in_step = True
                        await self._wait_to_answer(received[0].header, place, answered)
                        reply = await self._reply_to(peer_id, received, place)
                        arrival.complete()
                        size = reply.size
                        await self.answers.send(connection, stream, reply, place, answered)
                except (MessageRefused, ExchangeFailed) as error:
                    self.counters.count_refused(error)
                    is_told = await self._send_refusal(peer_id, stream, error)
                    if place is not None and place.is_offered and isinstance(error, PeerBusy):
                        in_step = True  # the body is not sent
                    if not is_told:
                        in_step = False  # within the refusal
                        stream.reset()
                    elif not in_step:
                        stream.close()
                    self.punish(peer_id, error)
                    return in_step
                self.counters.count_sent(size, peer_id=peer_id)
                self.counters.count_success(peer_id=peer_id)
                self.standing.prove(peer_id)
        finally:
            connection.end_exchange()
            arrival.close()
            if reply is not None and not self.answers.keeps(reply):
                reply.release()
        if deadline.cancelled_caught:
            await self._cut(peer_id, stream, place)
        return not deadline.cancelled_caught

    async def _reply_to(self, peer_id: str, received: list[ReceivedFrame], place: Place) -> Frame:
        """Answer the one frame of a list, in which nothing remains: its row may be large, and the reply slow."""
        place.work()
        message = await decode(received[0])
        self.counters.count_received(received.pop().size, peer_id=peer_id)
        reply = await self._handle(peer_id, message)
        place.hand_over()
        return reply

    async def _receive(
        self, connection: Connection, arrival: Arrival, place: Place, answered: Transfer
    ) -> ReceivedFrame:
        stream = arrival.stream
        path, lane = self.link.path(connection.peer_id).download, self.link.download
        model: ModelHeader | None = None

        def screen(header: AnyHeader, size: int) -> None:
            nonlocal model
            place.is_offered = size > OFFERED_BYTES
            self._rates.charge(connection.peer_id, size, now=trio.current_time())
            if self.screen is not None:
                self.screen(connection.peer_id, header)
            if header.kind.has_body:
                self.places.reserve(place, size + decoded_bytes(header, self.expectation))
            place.size = size
            model = header if isinstance(header, ModelHeader) else None

        @asynccontextmanager
        async def around_row(size: int) -> AsyncIterator[None]:
            place.work()
            with lane.expecting(size, is_valued=place.is_valued) as transfer:
                if model is not None:
                    if arrival.body is None:  # otherwise it was under way already
                        await self._wait_for_room(place, size, lane)
                    answered.size = size if model.wants_answer else 0
                transfer.begin()
                place.is_offered = False
                await stream.write_all(_CLEARED.buffers)
                moved = since(lambda: stream.received)
                place.wait_for(size, moved, row_seconds=self.limits.row_seconds(size, path.bytes_per_second))
                with lane.carrying(transfer, size, moved, path=path):
                    yield

        arrival.on_taken = place.hand_over
        place.wait_for(FIRST_BYTES, since(lambda: stream.received))
        return await receive(
            stream,
            expectation=self.expectation,
            kinds=REQUESTS,
            bodies=self.bodies,
            before_body=screen,
            around_row=around_row,
            arrival=arrival,
        )

    async def _wait_to_answer(self, header: AnyHeader, place: Place, answered: Transfer) -> None:
        """Wait for a moment until the link can carry a model that was asked for without one.

        Raises
        ------
        PeerBusy
            It cannot soon.
        """
        if isinstance(header, Pull) and self.answers.latest_bytes > OFFERED_BYTES:
            answered.size = self.answers.latest_bytes
            await self._wait_for_room(place, answered.size, self.link.upload)
            answered.begin()

    async def _wait_for_room(self, place: Place, size: int, lane: Lane) -> None:
        """Wait for a moment until the link can carry a large row.

        Raises
        ------
        PeerBusy
            It cannot soon.
        """
        now = trio.current_time()
        patience = now + self.limits.offer_seconds
        while wait := lane.seconds_until_free(size, is_valued=place.is_valued):
            if now + wait > patience:
                raise PeerBusy("the link is busy", retry_after=lane.turn(now, wait, size))
            await trio.sleep(min(wait, _LOOK_SECONDS))
            now = trio.current_time()

    async def _handle(self, peer_id: str, message: AnyMessage) -> Frame:
        if self.handler is None:
            raise PeerBusy("this peer does not answer yet")
        try:
            return await self.handler(peer_id, message)
        except GossipflError:
            raise
        except Exception as error:  # a bug on this side must not end the host, or reveal details to others
            _log.exception("the handler of exchanges failed")
            raise ExchangeFailed("the neighbour failed to answer") from error

    async def _cut(self, peer_id: str, stream: Stream, place: Place | None) -> None:
        """Account for an exchange that was cut: it was too slow, displaced by another, or past its deadline."""
        error = None if place is None else place.lost
        if isinstance(error, PeerBusy):
            self.counters.count_refused(error)
            await self._send_refusal(peer_id, stream, error)
            stream.close()
            return
        error = error or ExchangeTimedOut("a peer's exchange did not end in time")
        self.counters.count_refused(error)
        was_waiting = place is None or place.moved is not None
        if was_waiting and not self.link.is_full:
            self.punish(peer_id, error)

    async def _send_refusal(self, peer_id: str, stream: Stream, error: GossipflError) -> bool:
        """Send a refusal; return whether there was time for it."""
        deadline = trio.move_on_after(_REFUSAL_SECONDS)
        try:
            with deadline:
                await stream.write_all(_refusal(error).buffers)
        except StreamFailure as failure:
            _log.debug("%s did not wait for the refusal: %s", peer_id, failure)
            return False
        return not deadline.cancelled_caught


def _refusal(error: GossipflError) -> Frame:
    """Return the frame that reports an error to the other peer."""
    if isinstance(error, PeerBusy) and error.retry_after is not None:
        return encode(Clearance(retry_after=max(1, round(1000 * error.retry_after))))
    return encode(Refusal.of(error))
