"""Streams of a connection, as their users see them.

The user's tasks never wait on the socket. A write hands its buffers to the connection and waits until they
are sent; a read hands its target to the connection's reader and waits. So a cancelled write or read cannot
leave half a frame on the wire: at most it leaves this stream in the middle of a message, and its owner then
resets it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

import trio

from gossipfl.network.failures import AnsweredEarly, StreamEnded, StreamFailure, StreamReset
from gossipfl.network.yamux.headers import INITIAL_WINDOW

__all__ = ["Carrier", "Stream"]


class Carrier(Protocol):
    """What a stream asks of the connection that carries it."""

    def send(self, stream: Stream) -> None:
        """Send what the stream has outgoing, as soon as its window lets it."""

    def grant_window(self, stream: Stream) -> None:
        """Let the other side send what the stream has room for."""

    def finish(self, stream: Stream) -> None:
        """Tell the other side that no more is sent on the stream."""

    def leave(self, stream: Stream, *, reset: bool) -> None:
        """Forget the stream, and tell the other side."""


class Stream:
    """A pair of byte streams, one each way, over a shared connection.

    At most one task reads and one writes at a time. `Stream` objects come from `Multiplexer.open`, or are
    handed over by it when the other side opens one.

    Parameters
    ----------
    carrier : Carrier
        The multiplexer that made it.
    stream_id : int
        Number in the frames.
    """

    def __init__(self, carrier: Carrier, stream_id: int) -> None:
        self._carrier = carrier
        self.stream_id = stream_id
        self.failure: StreamFailure | None = None
        self.finished = False
        self.finished_by_remote = False
        self.closed = False

        self.send_window = INITIAL_WINDOW
        self.outgoing: deque[memoryview] = deque()
        self._written = trio.Event()

        self.receive_window = INITIAL_WINDOW
        self.received = 0
        self.buffered = bytearray()
        self._target: memoryview | None = None
        self._filled = 0
        self._readable = trio.Event()

    @property
    def unsent(self) -> int:
        """Bytes of the present write that are not with the operating system yet."""
        return sum(len(piece) for piece in self.outgoing)

    @property
    def usable(self) -> bool:
        """Whether a new exchange may begin on this stream."""
        quiet = not self.buffered and not self.outgoing
        return not self.closed and not self.finished_by_remote and self.failure is None and quiet

    async def read_exactly_into(self, target: memoryview) -> None:
        """Fill `target` with the next bytes.

        After a cancelled or failed call the stream is in the middle of a message: reset it.

        Raises
        ------
        StreamEnded
            The other side finished sending first.
        StreamReset, ConnectionLost
            The stream or its connection went away first.
        """
        self._require_open()
        taken = min(len(target), len(self.buffered))
        if taken:
            target[:taken] = memoryview(self.buffered)[:taken]
            del self.buffered[:taken]
        if taken < len(target):
            self._target, self._filled = target, taken
        self._carrier.grant_window(self)
        try:
            while self._target is not None:
                self._raise_if_ended()
                self._readable = trio.Event()
                await self._readable.wait()
        finally:
            self._target = None
        await trio.lowlevel.checkpoint_if_cancelled()

    async def read_exactly(self, size: int) -> bytes:
        """Return the next `size` bytes; as `read_exactly_into`, for a few."""
        target = bytearray(size)
        await self.read_exactly_into(memoryview(target))
        return bytes(target)

    async def wait_readable(self) -> None:
        """Wait until a first byte of the next message is there, without taking it."""
        self._require_open()
        while not self.buffered:
            self._raise_if_ended()
            self._readable = trio.Event()
            await self._readable.wait()

    async def write_all(
        self, pieces: Sequence[bytes | bytearray | memoryview], *, until_ended: bool = False
    ) -> None:
        """Send all pieces, in order; return once they are with the operating system.

        The pieces are read while this waits and not afterwards. After a cancelled or failed call the stream
        is in the middle of a message: reset it.

        Parameters
        ----------
        pieces : sequence of bytes-like
        until_ended : bool, optional
            Whether to stop when the other side ends: as it does when it refuses a request early. An answer does
            not stop for it, because whoever asked may have ended its side after the question.

        Raises
        ------
        AnsweredEarly
            The other side finished sending meanwhile; its answer can be read.
        StreamReset, ConnectionLost
            The stream or its connection went away first.
        """
        self._require_open()
        self.outgoing.extend(view for piece in pieces if len(view := memoryview(piece).cast("B")))
        self._carrier.send(self)
        try:
            while self.outgoing:
                if self.failure is not None:
                    raise self.failure
                if until_ended and self.finished_by_remote:
                    raise AnsweredEarly(f"stream {self.stream_id} was finished by the other side")
                self._written = trio.Event()
                await self._written.wait()
            if self.failure is not None:
                raise self.failure
        finally:
            self.outgoing.clear()
        await trio.lowlevel.checkpoint_if_cancelled()

    async def write(self, data: bytes) -> None:
        """Send `data` (protocol negotiation writes this way)."""
        await self.write_all((data,))

    async def read_some(self, most: int) -> bytes:
        """Return the next bytes, at least one and at most `most`; as `read_exactly_into` otherwise."""
        await self.wait_readable()
        return await self.read_exactly(min(most, len(self.buffered)))

    def finish(self) -> None:
        """Say that no more will be sent. What still comes can be read."""
        self._carrier.finish(self)

    def close(self) -> None:
        """Say that no more will be sent, and forget the stream. What still comes is discarded."""
        self._carrier.leave(self, reset=False)

    def reset(self) -> None:
        """Give the stream up in both directions, and forget it. What still comes is discarded."""
        self._carrier.leave(self, reset=True)

    # The multiplexer's side

    def target_for(self, size: int) -> memoryview | None:
        """Return where the next `size` bytes belong, if a waiting reader has room for all of them."""
        if self._target is None or len(self._target) - self._filled < size:
            return None
        return self._target[self._filled : self._filled + size]

    def wanted(self) -> int:
        """Return how many bytes a waiting reader still needs."""
        return 0 if self._target is None else len(self._target) - self._filled

    def advance(self, size: int) -> None:
        """Note that `size` bytes were put where `target_for` said."""
        self._filled += size
        self.received += size
        if self._target is not None and self._filled == len(self._target):
            self._target = None
            self._readable.set()

    def deliver(self, data: memoryview) -> None:
        """Take bytes, into the waiting reader's target first."""
        size = min(self.wanted(), len(data))
        if size:
            target = self.target_for(size)
            assert target is not None  # noqa: S101 - by `wanted`
            target[:] = data[:size]
            self.advance(size)
        if size < len(data):
            self.received += len(data) - size
            self.buffered += data[size:]
            self._readable.set()

    def sent(self) -> None:
        """Note that everything outgoing is with the operating system."""
        self._written.set()

    def finish_by_remote(self) -> None:
        """Note that the other side will send no more."""
        self.finished_by_remote = True
        self._readable.set()
        self._written.set()

    def fail(self, failure: StreamFailure) -> None:
        """End the stream under its user."""
        self.failure = self.failure or failure
        self.outgoing.clear()
        self._readable.set()
        self._written.set()

    def _raise_if_ended(self) -> None:
        if self.failure is not None:
            raise self.failure
        if self.finished_by_remote:
            raise StreamEnded(f"stream {self.stream_id} ended")

    def _require_open(self) -> None:
        if self.closed:
            raise StreamReset(f"stream {self.stream_id} was closed on this side")
