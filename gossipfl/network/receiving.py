"""One frame from a stream, drained whole before anyone works on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from gossipfl.errors import TruncatedFrame
from gossipfl.network.bodies import BodyBuffers
from gossipfl.network.failures import StreamFailure
from gossipfl.network.yamux.stream import Stream
from gossipfl.wire import (
    PREAMBLE_BYTES,
    AnyHeader,
    AnyMessage,
    Expectation,
    ReceivedFrame,
    check,
    parse_header,
    parse_preamble,
)

__all__ = ["decode", "receive"]

# Decoding is linear in the body's size: some 0.2 ms up to here.
_MOST_BYTES_IN_LOOP: Final = 512 * 1024


async def receive(
    stream: Stream,
    *,
    expectation: Expectation,
    bodies: BodyBuffers,
    before_body: Callable[[AnyHeader, int], None] | None = None,
) -> ReceivedFrame:
    """Drain one frame, allocating each part only after everything known before allows it.

    Parameters
    ----------
    stream : Stream
    expectation : Expectation
    bodies : BodyBuffers
    before_body : callable, optional
        Called with the checked header and the size of the frame in bytes; what it raises keeps the body from
        being read.

    Raises
    ------
    MessageRefused
        The frame was refused part-way: the stream is in the middle of it. `TruncatedFrame` if the stream
        ended, was reset, or lost its connection inside the frame; none of these ever ends a frame.
    """
    limits = expectation.limits
    start = await _read(stream, memoryview(bytearray(PREAMBLE_BYTES)))
    preamble = parse_preamble(start, limits=limits, versions=expectation.versions)
    packed = await _read(stream, memoryview(bytearray(preamble.header_bytes)))
    header = parse_header(packed, preamble, limits=limits)
    size = check(header, preamble, expectation)
    if before_body is not None:
        before_body(header, PREAMBLE_BYTES + preamble.header_bytes + size)
    body = await _read(stream, bodies.allocate(size))
    return ReceivedFrame(preamble=preamble, header=header, body=body, expectation=expectation)


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


async def _read(stream: Stream, target: memoryview) -> memoryview:
    try:
        await stream.read_exactly_into(target)
    except StreamFailure as failure:
        raise TruncatedFrame(
            "the stream ended inside a frame", expected=f"{len(target)} more bytes", got=str(failure)
        ) from failure
    return target
