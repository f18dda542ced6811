"""The one reader of frames: sans-I/O, a generator of the buffers to be filled next.

A frame is read in stages, and memory is allocated for a stage only once all earlier ones have passed. On any
bytes whatever, the reader yields buffers within its limits, and then returns a frame or raises a
`MessageRefused`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass

from gossipfl.wire.body import allocate_body
from gossipfl.wire.decode import AnyHeader, AnyMessage, check, decode_body, parse_header
from gossipfl.wire.expectation import Expectation
from gossipfl.wire.messages import ModelHeader
from gossipfl.wire.preamble import ALL_KINDS, PREAMBLE_BYTES, Kind, Preamble, parse_preamble
from gossipfl.wire.round_messages import RoundHeader

__all__ = ["ReceivedFrame", "frame_reader"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedFrame:
    """A frame drained from its stream, its body not decoded yet."""

    preamble: Preamble
    header: AnyHeader
    body: memoryview
    expectation: Expectation

    @property
    def size(self) -> int:
        """Length of the whole frame in bytes."""
        return self.preamble.frame_bytes

    def message(self) -> AnyMessage:
        """Validate and decode the body; for a large model, in a thread.

        Raises
        ------
        MessageRefused
            As `decode_body`.
        """
        if isinstance(self.header, ModelHeader | RoundHeader):
            return decode_body(self.header, self.body, self.expectation)
        return self.header


def frame_reader(
    expectation: Expectation,
    *,
    kinds: Collection[Kind] = ALL_KINDS,
    allocate: Callable[[int], memoryview] = allocate_body,
    before_body: Callable[[AnyHeader, int], None] | None = None,
) -> Generator[memoryview, None, ReceivedFrame]:
    """Read one frame: yield each buffer that has to be filled with the next bytes, and return the frame.

    Whoever drives it fills the buffer completely before asking for the next one. If the stream ends first,
    there is no frame.

    Parameters
    ----------
    expectation : Expectation
    kinds : collection of Kind, optional
        The kinds that make sense at this point of the exchange.
    allocate : callable, optional
        Returns a writable, aligned buffer for the body, of exactly as many bytes as it is asked for.
    before_body : callable, optional
        Called with the checked header and the size of the frame in bytes; what it raises keeps the body from
        being read. The place for replay guards, rate limits and "busy".

    Raises
    ------
    MessageRefused
        As the stages do. The rest of the frame has not been read, so the stream cannot be used again.

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
    preamble = parse_preamble(start, limits=limits, kinds=kinds, versions=expectation.versions)
    packed = memoryview(bytearray(preamble.header_bytes))
    if packed:
        yield packed
    header = parse_header(packed, preamble, limits=limits)
    exact = check(header, preamble, expectation)
    if before_body is not None:
        before_body(header, preamble.frame_bytes)
    body = allocate(exact)
    if exact:
        yield body
    return ReceivedFrame(preamble=preamble, header=header, body=body, expectation=expectation)
