"""Connections, each with three tasks: one reads, one writes, one watches for silence.

The reader never waits for a write (two busy sides would deadlock), and no user's task ever waits on the socket
(cancelling it would leave half a frame there).
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import trio
from cryptography.exceptions import InvalidTag

from gossipfl.errors import GossipflError, MalformedFrame, MessageRefused
from gossipfl.network import tcp
from gossipfl.network.addresses import PeerAddress
from gossipfl.network.batching import BatchSize
from gossipfl.network.buffers import SharedBuffers
from gossipfl.network.counters import NetworkCounters
from gossipfl.network.failures import ConnectionAborted, ConnectionLost
from gossipfl.network.frame_charges import FrameCharges
from gossipfl.network.limits import NetworkLimits
from gossipfl.network.link import Link
from gossipfl.network.log_limits import limited_logger
from gossipfl.network.noise.upgrade import SecuredSocket
from gossipfl.network.receive_room import ReceiveRoom
from gossipfl.network.turns import StreamTurns
from gossipfl.network.yamux.multiplexer import SMALL_BYTES, Multiplexer
from gossipfl.network.yamux.stream import Stream

__all__ = ["Connection"]

_GO_AWAY_SECONDS: Final = 0.5
_PROBE_SECONDS: Final = 2.0
_PROBE_BYTES: Final = 16 * 1024
#: Connections that share a full link are served unevenly: one of them may be at a standstill for many seconds.
_FULL_LINK_FACTOR: Final = 3
_log = limited_logger(__name__)


class _Batch(NamedTuple):
    """Sealed bytes to send, the buffer that holds them, and the streams whose outgoing bytes end in them."""

    buffer: memoryview
    sealed: memoryview
    size: int
    drained: list[Stream]


class Connection:
    """A secured, multiplexed connection to one peer.

    Parameters
    ----------
    secured : SecuredSocket
        The socket, and the identity proved in the handshake.
    buffers : SharedBuffers
        Scratch memory of the host.
    link : Link
        The host's link, on which the connection's bytes are counted.
    on_stream : callable
        Called with this connection and each stream that the other side opens.
    on_refused : callable
        Called with the peer's id and the error that made this side close the connection.
    """

    def __init__(
        self,
        *,
        secured: SecuredSocket,
        limits: NetworkLimits,
        buffers: SharedBuffers,
        link: Link,
        counters: NetworkCounters,
        on_stream: Callable[[Connection, Stream], None],
        on_refused: Callable[[str, GossipflError], None],
    ) -> None:
        self.peer_id = secured.peer_id
        self.remote_address = secured.remote_address
        self.is_initiator = secured.is_initiator
        self.member = secured.member
        self._secured = secured
        self._socket = secured.socket
        self._limits = limits
        self._buffers = buffers
        self._link = link
        self._batch = BatchSize(secured.socket)
        self._room = ReceiveRoom(secured.socket)
        self._on_refused = on_refused
        self._outgoing = trio.Event()
        self._charges = FrameCharges(limits)
        self._unsent: _Batch | None = None
        self._nursery: trio.Nursery | None = None
        self.last_heard = trio.current_time()
        self._sent_bytes = 0
        self.last_used = self.last_exchange = self.last_heard
        self.exchanges = 0
        self.turns = StreamTurns(limits.streams_per_connection)
        self.alive = True
        self.started = trio.Event()
        self.multiplexer = Multiplexer(
            is_initiator=secured.is_initiator,
            receive_window=limits.receive_window,
            most_inbound_streams=2 * limits.streams_per_connection,  # half of them wait
            on_stream=lambda stream: on_stream(self, stream),
            on_outgoing=self._wake_writer,
            flush=self._flush,
            on_refused=counters.count_refused,
        )

    @property
    def remote_endpoint(self) -> PeerAddress | None:
        """Address of the other side's socket, or None if the connection is relayed, or gone."""
        return tcp.remote_endpoint(self._socket)

    @property
    def round_trip(self) -> float | None:
        """Round-trip time as the kernel measures it, in seconds; None where it does not, or through a relay."""
        return tcp.round_trip(self._socket)

    async def run(self) -> None:
        """Serve the connection until it ends for whatever reason; raises nothing but `trio.Cancelled`."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self.started.set()
                if not self.alive:
                    return
                nursery.start_soon(self._guard, self._read)
                nursery.start_soon(self._guard, self._write)
                nursery.start_soon(self._guard, self._watch)
        except Exception:  # a bug on this side must not end the host or its other connections
            _log.exception("the connection to %s failed", self.peer_id)
        finally:
            self.abort(ConnectionLost("the connection ended"))

    def abort(self, failure: ConnectionLost) -> None:
        """Drop the connection immediately, whatever is in progress; its streams fail. Never blocks."""
        if not self.alive:
            return
        self.alive = False
        self.multiplexer.fail(failure)
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()
        self._socket.socket.close()

    async def close(self) -> None:
        """Send a GO_AWAY, briefly wait for it to leave, and drop the connection."""
        if self.alive:
            self.multiplexer.go_away()
            with trio.move_on_after(_GO_AWAY_SECONDS):
                while self.alive and self.multiplexer.outgoing.has_work:
                    await trio.sleep(0.01)
        self.abort(ConnectionAborted("the connection was closed on this side"))

    def begin_exchange(self) -> None:
        """Record that an exchange is in progress on the connection."""
        self.exchanges += 1

    def end_exchange(self) -> None:
        """Record that an exchange has ended, successfully or not."""
        self.exchanges -= 1
        self.last_exchange = trio.current_time()

    def _wake_writer(self) -> None:
        self._outgoing.set()

    def suspect(self) -> None:
        """Drop the connection unless something moves on it soon (to a frozen peer, little does)."""
        self.start_soon(self._guard, self._probe)

    def start_soon(self, task: Callable[..., Awaitable[None]], *arguments: object) -> None:
        """Run a task that is cancelled when the connection ends."""
        if self.alive and self._nursery is not None:
            self._nursery.start_soon(task, *arguments)

    @property
    def _patience(self) -> float:
        """Seconds without a sign of life after which the other side is taken to be gone."""
        return self._limits.silence_seconds * (_FULL_LINK_FACTOR if self._link.is_full else 1)

    @property
    def _is_carrying(self) -> bool:
        """Whether rows take up this host's link, or are being sent on this connection."""
        return self._link.is_full or any(each.outgoing for each in self.multiplexer.streams.values())

    async def _probe(self) -> None:
        asked, sent = trio.current_time(), self._sent_bytes
        self.multiplexer.ping(0)
        patience = self._limits.silence_seconds
        await trio.sleep(min(_PROBE_SECONDS, patience))
        # Behind a full link a ping may wait for longer, and what a row has moved would be lost.
        while self._is_carrying and trio.current_time() < asked + patience:
            await trio.sleep(_PROBE_SECONDS / 8)
        if self.last_heard < asked and self._sent_bytes - sent < _PROBE_BYTES:
            raise ConnectionLost("the peer let an exchange time out and then did not answer a ping")

    async def _guard(self, role: Callable[[], Awaitable[None]]) -> None:
        try:
            await role()
        except MessageRefused as error:
            self._on_refused(self.peer_id, error)
            self.abort(ConnectionAborted(str(error)))
        except ConnectionLost as failure:
            self.abort(failure)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self.abort(ConnectionLost(f"the connection broke: {error}"))

    async def _read(self) -> None:
        self.multiplexer.receive(memoryview(self._secured.leftover))
        file_number = self._socket.socket.fileno()
        received, lane = self._buffers.received, self._link.download
        tail = b""
        while await self._may_read():
            room = received[len(tail) :]
            room = room[: lane.piece(len(room))]
            received[: len(tail)] = tail
            try:
                count = os.readv(file_number, [room])
            except BlockingIOError:
                await trio.lowlevel.wait_readable(file_number)
                continue
            if not count:
                raise ConnectionLost("the peer closed the connection")
            self.last_heard = trio.current_time()
            lane.count(count)
            tail = self._open_records(received[: len(tail) + count])
            if self.multiplexer.gone_away:
                raise ConnectionLost("the peer announced that it is closing the connection")
            if count < len(room):  # that was all there was
                await trio.lowlevel.wait_readable(file_number)
            else:
                await trio.lowlevel.checkpoint()

    async def _may_read(self) -> bool:
        """Wait for the cap, while the kernel holds the other side back; return whether the socket is open."""
        self._room.limit(self._link.download.window)
        await self._link.download.wait_for_cap()
        return self.alive  # a closed socket's number may belong to another connection

    def _open_records(self, received: memoryview) -> bytes:
        """Process all complete records, and return the incomplete rest."""
        opener, multiplexer = self._secured.opener, self.multiplexer
        plaintext = self._buffers.plaintext
        position = 0
        try:
            while (size := opener.find(received, position)) is not None:
                plain_size = opener.plain_size(size)
                multiplexer.useless_frames += not plain_size
                multiplexer.small_frames += plain_size < SMALL_BYTES
                target = multiplexer.target_for(plain_size)
                if target is not None:
                    multiplexer.advance(opener.open(received, position, size, target))
                else:
                    multiplexer.receive(plaintext[: opener.open(received, position, size, plaintext)])
                position = opener.end(position, size)
                if multiplexer.useless_frames or multiplexer.small_frames:  # after each, as it may hold 5,000
                    self._charges.charge(multiplexer)
        except InvalidTag as error:
            raise MalformedFrame("a record was not sealed by the authenticated peer") from error
        return bytes(received[position:])

    async def _write(self) -> None:
        while True:
            while self._unsent is None and not self.multiplexer.outgoing.has_work:
                self._outgoing = trio.Event()
                await self._outgoing.wait()
                self._batch.begin(trio.current_time())
            await self._link.upload.wait_for_cap()
            batch = self._unsent = self._unsent or self._next_batch()
            if batch is None:
                continue
            with trio.move_on_after(self._patience) as deadline:
                await self._socket.send_all(batch.sealed)
            if deadline.cancelled_caught:
                raise ConnectionLost("the peer stopped reading")
            self._unsent = None
            self._batch.sent(batch.size, trio.current_time())
            self._finish(batch)

    def _flush(self) -> None:
        """Send immediately what the socket takes without blocking, and leave the rest to the writer.

        A small message thus costs no task switch, which is expensive while another thread computes.
        """
        if not self.alive or self._unsent is not None or self._link.upload.is_capped_now:
            return
        batch = self._next_batch()
        if batch is None:
            return
        try:
            sent = os.writev(self._socket.socket.fileno(), [batch.sealed])
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.abort(ConnectionLost(f"the connection broke: {error}"))
            return
        if sent == len(batch.sealed):
            self._finish(batch)
        else:
            self._unsent = batch._replace(sealed=batch.sealed[sent:])
            self._wake_writer()

    def _next_batch(self) -> _Batch | None:
        # No checkpoint until everything is sealed: the pieces are views of the users' buffers.
        pieces, drained = self.multiplexer.outgoing.next_batch(self._link.upload.piece(self._batch.size))
        if not pieces:
            return None
        sealer = self._secured.sealer
        buffer = self._buffers.take(sealer.sealed_size(pieces))
        size = sealer.seal(pieces, buffer)
        return _Batch(buffer, buffer[:size], size, drained)

    def _finish(self, batch: _Batch) -> None:
        self._buffers.give_back(batch.buffer)
        self._link.upload.count(batch.size)
        self._sent_bytes += batch.size
        for stream in batch.drained:
            stream.sent()

    async def _watch(self) -> None:
        limits = self._limits
        pings = 0
        while True:
            await trio.sleep(limits.keepalive_seconds / 2)
            now = trio.current_time()
            if now - self.last_heard >= self._patience:
                raise ConnectionLost(f"the peer was silent for {now - self.last_heard:.0f} s")
            if now - self.last_heard >= limits.keepalive_seconds:
                pings += 1
                self.multiplexer.ping(pings)
            if self.multiplexer.streams:
                self.last_used = now
            elif now - self.last_used >= limits.idle_seconds:
                self.multiplexer.go_away()
                await trio.sleep(_GO_AWAY_SECONDS)
                raise ConnectionLost("the connection was idle")
