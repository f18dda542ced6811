"""Frames received from a stream, and decoded off the event loop."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from typing import Final

import trio

from gossipfl.errors import TruncatedFrame
from gossipfl.network.bodies import BodyBuffers
from gossipfl.network.failures import ConnectionAborted, ConnectionLost, StreamFailure
from gossipfl.network.partials import LEAST_BYTES_CONTINUED, key_of
from gossipfl.network.resuming import Arrival, agree
from gossipfl.network.yamux.stream import Stream
from gossipfl.wire import (
    OFFERED_BYTES,
    AnyHeader,
    AnyMessage,
    Expectation,
    Kind,
    ReceivedFrame,
    frame_reader,
)

__all__ = ["AroundRow", "Reception", "decode", "receive"]

AroundRow = Callable[[int], AbstractAsyncContextManager[None]]
"""Given the length of a large body, returns a context in which to read it."""

# Decoding is linear in the body's size, and takes about 0.2 ms for this many bytes.
_MOST_BYTES_IN_LOOP: Final = 512 * 1024


class Reception:
    """A frame that is being received; from another connection, if the first one breaks within its body.

    Parameters
    ----------
    kinds, bodies, before_body
        As for `receive`.
    arrival : Arrival, optional
        Keeps what has arrived of a large body if the connection breaks, and finds it again.

    Attributes
    ----------
    filled : int
        Bytes of the body that have arrived, if its connection broke.
    is_broken : bool
        Whether it broke so late that the frame should be continued.
    """

    def __init__(
        self,
        *,
        expectation: Expectation,
        kinds: Collection[Kind],
        bodies: BodyBuffers,
        before_body: Callable[[AnyHeader, int], None] | None = None,
        arrival: Arrival | None = None,
    ) -> None:
        self._bodies, self._before_body, self._arrival = bodies, before_body, arrival
        self._reader = frame_reader(
            expectation, kinds=kinds, allocate=self._allocate, before_body=self._checked
        )
        self._head: list[bytes] = []
        self._target: memoryview | None = None
        self.filled = 0
        self.is_broken = False

    @property
    def key(self) -> bytes:
        """Digest of preamble and header."""
        return key_of(*self._head)

    async def agree(self, stream: Stream) -> None:
        """Begin to continue a broken frame on a stream: drop what the sender does not recognise.

        Raises
        ------
        MalformedFrame, StreamFailure
            As for `resuming.agree`.
        """
        assert self._target is not None  # noqa: S101 - since it is broken
        await stream.write(self.key)
        self.filled = await agree(stream, self._target, self.filled)

    async def go_on(self, stream: Stream, around_row: AroundRow) -> ReceivedFrame:
        """Read the rest of the frame.

        Raises
        ------
        MessageRefused
            As for `receive`.
        """
        while True:
            if self._target is None:
                try:
                    self._target, self.filled = next(self._reader), 0
                except StopIteration as whole:
                    frame: ReceivedFrame = whole.value
                    return frame
            try:
                await self._fill(stream, self._target, around_row)
            except StreamFailure as failure:
                is_lost = isinstance(failure, ConnectionLost) and not isinstance(failure, ConnectionAborted)
                self.is_broken = is_lost and self.filled >= LEAST_BYTES_CONTINUED
                raise TruncatedFrame(
                    "the stream ended inside a frame",
                    expected=f"{len(self._target)} more bytes",
                    got=str(failure),
                ) from failure
            self._target = None

    async def _fill(self, stream: Stream, target: memoryview, around_row: AroundRow) -> None:
        if len(target) <= OFFERED_BYTES:
            await stream.read_exactly_into(target)
            self._head.append(bytes(target))
            return
        arrival = self._arrival
        async with around_row(len(target) - self.filled):
            if arrival is not None:
                self.filled = await arrival.agree(target)
            try:
                if self.filled < len(target):
                    with self._receiving(stream, target):
                        await stream.read_exactly_into(target[self.filled :])
            except StreamFailure as failure:
                self.filled += stream.filled
                if arrival is not None and isinstance(failure, ConnectionLost):
                    arrival.interrupt(target, self.filled)
                raise

    def _receiving(self, stream: Stream, target: memoryview) -> AbstractContextManager[None]:
        if self._arrival is None:
            return nullcontext()
        return self._arrival.receiving(target, lambda: self.filled + stream.filled)

    def _checked(self, header: AnyHeader, size: int) -> None:
        if self._arrival is not None:
            self._arrival.find(key_of(*self._head), size - sum(map(len, self._head)))
        if self._before_body is not None:
            self._before_body(header, size)

    def _allocate(self, size: int, room: int) -> memoryview:
        begun = None if self._arrival is None else self._arrival.body
        return self._bodies.allocate(size, room) if begun is None else begun


async def receive(
    stream: Stream,
    *,
    expectation: Expectation,
    kinds: Collection[Kind],
    bodies: BodyBuffers,
    before_body: Callable[[AnyHeader, int], None] | None = None,
    around_row: AroundRow = lambda _: nullcontext(),
    arrival: Arrival | None = None,
) -> ReceivedFrame:
    """Read one frame from a stream; see `frame_reader`.

    Parameters
    ----------
    around_row : AroundRow, optional
    arrival : Arrival, optional
        Keeps what has arrived of a large body if the connection breaks, and finds it again.

    Raises
    ------
    MessageRefused
        The frame was refused part-way, and the stream is in the middle of it. `TruncatedFrame` if the stream
        ended, was reset or lost its connection inside the frame.
    """
    reception = Reception(
        expectation=expectation, kinds=kinds, bodies=bodies, before_body=before_body, arrival=arrival
    )
    return await reception.go_on(stream, around_row)


async def decode(frame: ReceivedFrame) -> AnyMessage:
    """Validate and decode a received frame, in a worker thread if it is large.

    Raises
    ------
    MessageRefused
        The body does not match its header. The stream is at the end of the frame.
    """
    if frame.work_bytes <= _MOST_BYTES_IN_LOOP:
        return frame.message()
    return await trio.to_thread.run_sync(frame.message)
