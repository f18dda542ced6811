"""The initiating side of an exchange: send a frame and read the reply, under one deadline."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import trio

from gossipfl.errors import (
    ExchangeFailed,
    ExchangeTimedOut,
    GossipflError,
    MessageRefused,
    PeerBusy,
    TruncatedFrame,
)
from gossipfl.network.bodies import BodyBuffers
from gossipfl.network.connection import Connection
from gossipfl.network.counters import NetworkCounters
from gossipfl.network.failures import (
    AnsweredEarly,
    ConnectionAborted,
    ConnectionLost,
    StreamEnded,
    StreamFailure,
)
from gossipfl.network.limits import NetworkLimits
from gossipfl.network.link import Link
from gossipfl.network.log_limits import limited_logger
from gossipfl.network.multistream import propose
from gossipfl.network.pace import Progress, keep_pace, since
from gossipfl.network.partials import CHUNK_BYTES, LEAST_BYTES_CONTINUED
from gossipfl.network.pool import Lease, StreamPool
from gossipfl.network.protocol import (
    EXCHANGE_PROTOCOL,
    RESUME_ANSWER_PROTOCOL,
    RESUME_PROTOCOL,
)
from gossipfl.network.receiving import Reception, decode, receive
from gossipfl.network.requests import (
    ROWS_OF_MODELS,
    Addresses,
    Broken,
    Renew,
    Request,
    Rows,
    Superseded,
    Unanswered,
)
from gossipfl.network.resuming import agreed_chunks, from_chunk
from gossipfl.network.yamux.stream import Stream
from gossipfl.wire import AnyMessage, Clearance, Expectation, Frame, Kind, ReceivedFrame, Refusal

__all__ = ["Exchanger", "Renew"]

Connect = Callable[[str, Addresses], Awaitable[Connection]]

_log = limited_logger(__name__)


_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0
_ANSWERS_TO_OFFERS: Final = frozenset({Kind.CLEARANCE, Kind.REFUSAL})


@dataclass(kw_only=True, eq=False)
class Exchanger:
    """Starts exchanges with other peers.

    Parameters
    ----------
    expectation : Expectation
        What replies must match.
    find_connection : callable
        Returns a live connection to a peer id, or None.
    connect : callable
        Connects to a peer id at one of the given addresses.
    refuse : callable
        Called with the peer's id and the error of each refused reply.
    """

    limits: NetworkLimits
    expectation: Expectation
    counters: NetworkCounters
    bodies: BodyBuffers
    link: Link
    find_connection: Callable[[str], Connection | None]
    connect: Connect
    refuse: Callable[[str, GossipflError], None]

    def __post_init__(self) -> None:
        self._pool = StreamPool(streams_per_neighbour=self.limits.streams_per_neighbour)
        self._under_way: list[Progress] = []

    async def exchange(
        self,
        peer_id: str,
        addresses: Addresses,
        frame: Frame,
        *,
        seconds: float | None,
        answer_bytes: int | None,
        renew: Renew | None = None,
    ) -> AnyMessage:
        """Send `frame` and return the validated reply; see `Host.exchange`."""
        seconds = self.limits.exchange_seconds if seconds is None else seconds
        neighbour = self._pool.neighbour(peer_id)
        neighbour.users += 1
        try:
            with trio.move_on_after(seconds) as deadline:
                progress = Progress(scope=deadline, since=trio.current_time(), seconds=seconds)
                self._under_way.append(progress)
                try:
                    with (
                        self.link.upload.expecting(frame.size, is_valued=True) as sent,
                        self.link.download.expecting(answer_bytes or 0, is_valued=True) as answered,
                    ):
                        sent.begin()
                        if not frame.is_offered:
                            answered.begin()  # nothing precedes it
                        rows = Rows(progress, sent, answered)
                        asks = answer_bytes != 0
                        request = Request(neighbour, peer_id, addresses, frame, rows, renew, asks)
                        reply = await self._take_turn(request)
                finally:
                    self._under_way.remove(progress)
        except MessageRefused as error:
            self.refuse(peer_id, error)
            raise
        except ExchangeFailed as error:
            self.counters.count_failed(error)
            raise
        except Exception as error:  # a bug on this side must fail this exchange, not its caller's nursery
            _log.exception("an exchange failed")
            what = type(error).__name__
            raise self._counted(ExchangeFailed("the exchange failed on this side", got=what)) from error
        finally:
            neighbour.users -= 1
        if deadline.cancelled_caught:
            raise self._counted(
                progress.lost
                or ExchangeTimedOut(
                    f"the exchange with {peer_id} did not end in time", expected=f"at most {seconds:g} s"
                )
            )
        return reply

    def _counted(self, error: GossipflError) -> GossipflError:
        """Count and return an error. As a variable where it is raised it would keep all that is in use there."""
        self.counters.count_failed(error)
        return error

    async def keep_pace(self) -> None:
        """End exchanges that are too slow, until cancelled."""
        await keep_pace(self.limits, self._under_way)

    async def keep_tidy(self) -> None:
        """Close idle streams, until cancelled."""
        # Half the other side's timeout: this side closes first, so no exchange begins on a closed stream.
        idle_seconds = self.limits.idle_seconds / 2
        while True:
            await trio.sleep(idle_seconds / 4)
            self._pool.sweep(idle_seconds=idle_seconds)

    async def _take_turn(self, request: Request) -> AnyMessage:
        async with request.neighbour.turns:
            for is_last_attempt in (False, True):
                try:
                    lease = None if is_last_attempt else StreamPool.take_idle(request.neighbour)
                    return await self._converse(request, lease or await self._open(request))
                except Broken:
                    return await self._resume(request)
                except Unanswered as unanswered:
                    if is_last_attempt:
                        raise ExchangeFailed(str(unanswered)) from unanswered
        raise AssertionError  # the second attempt returned or raised

    async def _resume(self, request: Request) -> AnyMessage:
        """Continue a frame on new connections, as long as one can be made soon, or send a newer one."""
        while True:
            request.rows.progress.work()
            await trio.sleep(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**request.failures))
            try:
                is_answer = request.answer is not None
                protocols = (RESUME_ANSWER_PROTOCOL,) if is_answer else (RESUME_PROTOCOL, EXCHANGE_PROTOCOL)
                lease = await self._open(request, *protocols)
            except (Unanswered, ExchangeFailed) as error:
                request.fail("the neighbour cannot be reached again", error)
                continue
            try:
                return await self._converse(request, lease)
            except Superseded as superseded:
                request.replace(superseded.frame)
            except (Broken, Unanswered) as error:
                request.fail("the connection keeps breaking", error)

    async def _open(self, request: Request, *protocols: str) -> Lease:
        neighbour, peer_id, addresses = request.neighbour, request.peer_id, request.addresses
        is_fresh = False
        connection = self.find_connection(peer_id)
        if connection is None:
            async with neighbour.dialling:
                connection = self.find_connection(peer_id)
                if connection is None:
                    connection = await self.connect(peer_id, addresses)
                    is_fresh = True
        try:
            stream = connection.multiplexer.open()
            try:
                protocol = await propose(stream, *(protocols or (EXCHANGE_PROTOCOL,)))
            except BaseException:
                stream.reset()
                raise
        except StreamFailure as failure:
            if is_fresh:
                raise ExchangeFailed(f"no stream to {peer_id} could be opened", got=failure) from failure
            raise Unanswered(str(failure)) from failure
        return Lease(stream, connection, is_fresh=is_fresh, resumes=protocol != EXCHANGE_PROTOCOL)

    async def _converse(self, request: Request, lease: Lease) -> AnyMessage:
        in_step = False
        try:
            received, in_step = await self._talk(request, lease)
        except TruncatedFrame as truncated:
            if request.answer is not None:
                raise Broken(str(truncated)) from truncated
            raise
        except StreamFailure as failure:
            raise _meaning(failure, request, lease) from failure
        except BaseException:
            if request.rows.progress.scope.cancel_called:
                lease.connection.suspect()
            raise
        finally:
            if in_step:
                StreamPool.give_back(request.neighbour, lease)
            else:
                lease.stream.reset()
        message = await decode(received)
        peer_id = lease.connection.peer_id
        self.counters.count_sent(request.frame.size, peer_id=peer_id)
        self.counters.count_received(received.size, peer_id=peer_id)
        if isinstance(message, Refusal):
            raise message.error()
        if isinstance(message, Clearance):
            raise PeerBusy("the neighbour is busy", retry_after=message.retry_after / 1000)
        self.counters.count_success(peer_id=peer_id)
        return message

    async def _talk(self, request: Request, lease: Lease) -> tuple[ReceivedFrame, bool]:
        """Send a frame; return the reply, and whether another exchange may follow on the stream."""
        in_step = not lease.resumes
        if request.answer is None:
            if request.frame.is_offered:
                declined = await self._declined(lease.stream, request.frame)
                if declined is not None:
                    return declined, in_step
            try:
                await self._send(lease, request)
            except AnsweredEarly:  # refused before everything was sent: the reply says why
                in_step = False
        return await self._receive(lease, request), in_step

    async def _declined(self, stream: Stream, frame: Frame) -> ReceivedFrame | None:
        """Send the header of a large row; return None once its body may follow, or else the reply."""
        await stream.write_all(frame.buffers[:1])
        await stream.wait_readable()
        answer = await receive(
            stream, expectation=self.expectation, kinds=_ANSWERS_TO_OFFERS, bodies=self.bodies
        )
        is_cleared = isinstance(answer.header, Clearance) and not answer.header.retry_after
        return None if is_cleared else answer

    async def _send(self, lease: Lease, request: Request) -> None:
        """Send a small frame, or what is missing of a large one, and wait for the beginning of the reply."""
        stream, frame, rows = lease.stream, request.frame, request.rows
        if not frame.is_offered:
            await stream.write_all(frame.buffers, until_ended=True)
            await stream.wait_readable()
            frame.release()
            return
        missing = await self._missing(stream, request) if lease.resumes else frame.buffers[1:]
        path, size = self.link.path(lease.connection.peer_id).upload, sum(map(len, missing))
        moved = since(lambda: stream.transmitted)
        rows.progress.wait_for(size, moved, row_seconds=self.limits.row_seconds(size, path.bytes_per_second))
        with self.link.upload.carrying(rows.sent, size, moved, path=path):
            await stream.write_all(missing, until_ended=True)
            rows.progress.work()
            await stream.wait_readable()
        frame.release()  # its row may be large, and the reply slow

    async def _missing(self, stream: Stream, request: Request) -> Sequence[bytes | memoryview]:
        """Return what the other side lacks of a frame, unless a newer one is worth more."""
        frame, renew = request.frame, request.renew
        chunk = await agreed_chunks(stream, frame)
        request.advance(chunk)
        newer = None if renew is None else await renew(1 - chunk * CHUNK_BYTES / frame.size)
        if newer is not None:
            raise Superseded(newer)
        return from_chunk(frame, chunk)

    async def _receive(self, lease: Lease, request: Request) -> ReceivedFrame:
        """Receive a reply, or the rest of one."""
        stream, rows = lease.stream, request.rows

        @asynccontextmanager
        async def around_row(size: int) -> AsyncIterator[None]:
            path = self.link.path(lease.connection.peer_id).download
            moved = since(lambda: stream.received)
            rows.progress.wait_for(
                size, moved, row_seconds=self.limits.row_seconds(size, path.bytes_per_second)
            )
            with self.link.download.carrying(rows.answered, size, moved, path=path):
                yield

        reply = request.answer
        if reply is None:
            reply = Reception(expectation=self.expectation, kinds=request.replies, bodies=self.bodies)
            await stream.wait_readable()
        else:
            await reply.agree(stream)
            request.advance(reply.filled // CHUNK_BYTES)
        try:
            return await reply.go_on(stream, around_row)
        except TruncatedFrame:
            request.answer = reply if reply.is_broken else None
            raise


def _meaning(failure: StreamFailure, request: Request, lease: Lease) -> Exception:
    """Return what a failure of the stream means for an exchange."""
    frame = request.frame
    is_aborted = isinstance(failure, ConnectionAborted)
    is_lost = isinstance(failure, ConnectionLost) and not is_aborted
    is_large = frame.kind in ROWS_OF_MODELS and frame.size >= LEAST_BYTES_CONTINUED
    if is_lost and (is_large or request.answer is not None):
        return Broken(str(failure))
    # The other side ends an idle stream when another one is waiting for its turn.
    gave_way = isinstance(failure, StreamEnded)
    if gave_way or (is_lost and not lease.is_fresh):
        return Unanswered(str(failure))
    return ExchangeFailed("the neighbour abandoned the exchange", got=failure)
