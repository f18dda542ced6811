"""One frame from a stream, drained whole before anyone works on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from gossipfl.errors import TruncatedFrame
from gossipfl.network.failures import StreamFailure
from gossipfl.network.stream import Stream
from gossipfl.wire import AnyHeader, AnyMessage, Expectation, ReceivedFrame, read_frame

__all__ = ["decode", "receive"]

# Decoding is linear in the body's size: some 0.2 ms up to here.
_MOST_BYTES_IN_LOOP: Final = 512 * 1024


async def receive(
    stream: Stream, *, expectation: Expectation, before_body: Callable[[AnyHeader], None] | None = None
) -> ReceivedFrame:
    """Drain one frame.

    Raises
    ------
    MessageRefused
        The frame was refused part-way: the stream is in the middle of it. `TruncatedFrame` if the stream
        ended, was reset, or lost its connection inside the frame; none of these ever ends a frame.
    """

    async def receive_into(target: memoryview) -> None:
        try:
            await stream.read_exactly_into(target)
        except StreamFailure as failure:
            raise TruncatedFrame(
                "the stream ended inside a frame", expected=f"{len(target)} more bytes", came=str(failure)
            ) from failure

    return await read_frame(receive_into, expectation=expectation, before_body=before_body)


async def decode(frame: ReceivedFrame) -> AnyMessage:
    """Validate and decode a drained frame, a large one in a worker thread.

    Raises
    ------
    MessageRefused
        The frame does not hold what its header says. The stream is at the end of the frame.
    """
    if len(frame.body) <= _MOST_BYTES_IN_LOOP:
        return frame.message()
    return await trio.to_thread.run_sync(frame.message)
