"""The frame reader, without I/O: a generator of the buffers to be filled next.

A frame is read in stages, and memory for a stage is allocated only once all earlier ones have passed. For any
bytes whatsoever, the reader yields buffers within its limits, and then returns a frame or raises a
`MessageRefused`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass

from gossipfl.codecs import FLOAT32
from gossipfl.wire.body import allocate_body
from gossipfl.wire.decoding import AnyHeader, AnyMessage, check, decode_body, parse_header, room_bytes
from gossipfl.wire.expectation import Expectation
from gossipfl.wire.messages import ModelHeader, PartHeader
from gossipfl.wire.preamble import ALL_KINDS, PREAMBLE_BYTES, Kind, Preamble, parse_preamble
from gossipfl.wire.round_messages import RoundHeader

__all__ = ["ReceivedFrame", "frame_reader"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedFrame:
    """A complete frame, whose body is not decoded yet."""

    preamble: Preamble
    header: AnyHeader
    body: memoryview
    expectation: Expectation

    @property
    def size(self) -> int:
        """Length of the frame in bytes."""
        return self.preamble.frame_bytes

    @property
    def work_bytes(self) -> int:
        """Bytes of the rows that decoding goes through, even if only a part of one has come."""
        is_part = isinstance(self.header, PartHeader)
        return FLOAT32.payload_bytes(self.expectation.size) if is_part else len(self.body)

    def message(self) -> AnyMessage:
        """Validate and decode the body; call it in a thread for a large model.

        Raises
        ------
        MessageRefused
            As in `decode_body`.
        """
        if isinstance(self.header, ModelHeader | RoundHeader):
            return decode_body(self.header, self.body, self.expectation)
        return self.header


def frame_reader(
    expectation: Expectation,
    *,
    kinds: Collection[Kind] = ALL_KINDS,
    allocate: Callable[[int, int], memoryview] = allocate_body,
    before_body: Callable[[AnyHeader, int], None] | None = None,
) -> Generator[memoryview, None, ReceivedFrame]:
    """Read one frame: yield each buffer to be filled with the next bytes, and return the frame.

    The caller fills each buffer completely before asking for the next one. If the stream ends first, there is no
    frame.

    Parameters
    ----------
    kinds : collection of Kind, optional
        The kinds allowed at this point of the exchange.
    allocate : callable, optional
        Given the length of the body and of the room before it in the same memory, whose beginning is aligned,
        returns a writable buffer for the body.
    before_body : callable, optional
        Called with the checked header and the size of the frame in bytes. If it raises, the body is not read;
        this is the place for replay guards, rate limits and "busy".

    Raises
    ------
    MessageRefused
        As in the stages. The rest of the frame has not been read, so the stream cannot be used again.

    Examples
    --------
    >>> def read(file, expectation):
    ...     reader = frame_reader(expectation)
    ...     try:
    ...         while True:
    ...             file.readinto(next(reader))
    ...     except StopIteration as whole:
    ...         return whole.value
    """
    limits = expectation.limits
    start = memoryview(bytearray(PREAMBLE_BYTES))
    yield start
    preamble = parse_preamble(start, limits=limits, kinds=kinds)
    packed = memoryview(bytearray(preamble.header_bytes))
    if packed:
        yield packed
    header = parse_header(packed, preamble, limits=limits)
    exact = check(header, preamble, expectation)
    if before_body is not None:
        before_body(header, preamble.frame_bytes)
    body = allocate(exact, room_bytes(header, expectation))
    if exact:
        yield body
    return ReceivedFrame(preamble=preamble, header=header, body=body, expectation=expectation)
