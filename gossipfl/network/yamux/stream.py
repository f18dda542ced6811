"""Streams of a connection.

Their users' tasks never wait on the socket. A write passes its buffers to the connection and waits until they are
sent; a read passes its target to the connection's reader and waits. A cancelled write or read therefore cannot
leave half a frame on the wire: at worst it leaves this stream in the middle of a message, and its owner resets it.
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
    """The multiplexer's operations that a stream needs."""

    def send(self, stream: Stream) -> None:
        """Send the stream's outgoing bytes as soon as its window allows."""

    def grant_window(self, stream: Stream) -> None:
        """Let the other side send as much as the stream has room for."""

    def finish(self, stream: Stream) -> None:
        """Finish sending on the stream."""

    def leave(self, stream: Stream, *, reset: bool) -> None:
        """Forget the stream, and notify the other side."""


class Stream:
    """A pair of byte streams, one in each direction, over a shared connection.

    At most one task reads and one writes at a time. Streams come from `Multiplexer.open`, or from its
    `on_stream` when the other side opens one.

    Parameters
    ----------
    carrier : Carrier
        The multiplexer that made it.
    stream_id : int
        Its number in the frames.
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
        self.transmitted = 0
        self._written = trio.Event()

        self.receive_window = INITIAL_WINDOW
        self.received = 0
        self.buffered = bytearray()
        self._target: memoryview | None = None
        self._filled = 0
        self._readable = trio.Event()

    @property
    def filled(self) -> int:
        """Bytes of the last target that have arrived."""
        return self._filled

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
            The stream or its connection ended first.
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
        """Return the next `size` bytes; otherwise like `read_exactly_into`."""
        target = bytearray(size)
        await self.read_exactly_into(memoryview(target))
        return bytes(target)

    async def wait_readable(self) -> None:
        """Wait until a byte of the next message has arrived, without reading it."""
        self._require_open()
        while not self.buffered:
            self._raise_if_ended()
            self._readable = trio.Event()
            await self._readable.wait()

    async def write_all(
        self, pieces: Sequence[bytes | bytearray | memoryview], *, until_ended: bool = False
    ) -> None:
        """Send all pieces, in order; return once the operating system has them.

        The pieces must not change until this returns. After a cancelled or failed call the stream is in the
        middle of a message: reset it.

        Parameters
        ----------
        until_ended : bool, optional
            Whether to stop when the other side finishes sending, as it does when it refuses a request early. Not
            for answers, since the other side may finish sending right after its request.

        Raises
        ------
        AnsweredEarly
            The other side finished sending meanwhile; its answer can be read.
        StreamReset, ConnectionLost
            The stream or its connection ended first.
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
        """Send `data`; as `write_all`."""
        await self.write_all((data,))

    async def read_some(self, most: int) -> bytes:
        """Return the next bytes, at least one and at most `most`; otherwise like `read_exactly_into`."""
        await self.wait_readable()
        return await self.read_exactly(min(most, len(self.buffered)))

    def finish(self) -> None:
        """Finish sending; reading remains possible."""
        self._carrier.finish(self)

    def close(self) -> None:
        """Finish sending and forget the stream. What still arrives is discarded."""
        self._carrier.leave(self, reset=False)

    def reset(self) -> None:
        """Abandon the stream in both directions and forget it. What still arrives is discarded."""
        self._carrier.leave(self, reset=True)

    # The multiplexer's side

    def target_for(self, size: int) -> memoryview | None:
        """Return a waiting reader's memory for the next `size` bytes, if it has room for all of them."""
        if self._target is None or len(self._target) - self._filled < size:
            return None
        return self._target[self._filled : self._filled + size]

    def wanted(self) -> int:
        """Return the number of bytes that a waiting reader still needs."""
        return 0 if self._target is None else len(self._target) - self._filled

    def advance(self, size: int) -> None:
        """Record that `size` bytes were written to the memory returned by `target_for`."""
        self._filled += size
        self.received += size
        if self._target is not None and self._filled == len(self._target):
            self._target = None
            self._readable.set()

    def deliver(self, data: memoryview) -> None:
        """Accept received bytes, first into a waiting reader's target."""
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
        """Record that the operating system has all outgoing bytes."""
        self._written.set()

    def finish_by_remote(self) -> None:
        """Record that the other side has finished sending."""
        self.finished_by_remote = True
        self._readable.set()
        self._written.set()

    def fail(self, failure: StreamFailure) -> None:
        """End the stream, and fail its user's pending read and write."""
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
