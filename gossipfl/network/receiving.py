"""Frames received from a stream, and decoded off the event loop."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Final

import trio

from gossipfl.errors import TruncatedFrame
from gossipfl.network.bodies import BodyBuffers
from gossipfl.network.failures import ConnectionLost, StreamFailure
from gossipfl.network.partials import key_of
from gossipfl.network.resuming import Arrival
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

__all__ = ["decode", "receive"]

# Decoding is linear in the body's size, and takes about 0.2 ms for this many bytes.
_MOST_BYTES_IN_LOOP: Final = 512 * 1024


async def receive(
    stream: Stream,
    *,
    expectation: Expectation,
    kinds: Collection[Kind],
    bodies: BodyBuffers,
    before_body: Callable[[AnyHeader, int], None] | None = None,
    around_row: Callable[[int], AbstractAsyncContextManager[None]] = lambda _: nullcontext(),
    arrival: Arrival | None = None,
) -> ReceivedFrame:
    """Read one frame from a stream; see `frame_reader`.

    Parameters
    ----------
    around_row : callable, optional
        Given the length of a large body, returns a context in which to read it.
    arrival : Arrival, optional
        Keeps what has arrived of a large body if the connection breaks, and finds it again.

    Raises
    ------
    MessageRefused
        The frame was refused part-way, and the stream is in the middle of it. `TruncatedFrame` if the stream
        ended, was reset or lost its connection inside the frame.
    """
    head: list[bytes] = []

    def checked(header: AnyHeader, size: int) -> None:
        if arrival is not None:
            arrival.find(key_of(*head), size - sum(map(len, head)))
        if before_body is not None:
            before_body(header, size)

    def allocate(size: int, room: int) -> memoryview:
        begun = None if arrival is None else arrival.body
        return bodies.allocate(size, room) if begun is None else begun

    reader = frame_reader(expectation, kinds=kinds, allocate=allocate, before_body=checked)
    while True:
        try:
            target = next(reader)
        except StopIteration as whole:
            frame: ReceivedFrame = whole.value
            return frame
        is_row, filled = len(target) > OFFERED_BYTES, 0
        try:
            if is_row:
                async with around_row(len(target)):
                    filled = 0 if arrival is None else await arrival.agree(target)
                    if filled < len(target):
                        await stream.read_exactly_into(target[filled:])
            else:
                await stream.read_exactly_into(target)
                head.append(bytes(target))
        except StreamFailure as failure:
            if is_row and arrival is not None and isinstance(failure, ConnectionLost):
                arrival.interrupt(target, filled + stream.filled)
            raise TruncatedFrame(
                "the stream ended inside a frame", expected=f"{len(target)} more bytes", got=str(failure)
            ) from failure


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
