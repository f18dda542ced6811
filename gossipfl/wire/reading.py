"""Reading a frame from a stream of bytes, whatever event loop it comes from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from gossipfl.wire.body import allocate_body
from gossipfl.wire.decode import AnyHeader, AnyMessage, check, decode_body, parse_header
from gossipfl.wire.expectation import Expectation
from gossipfl.wire.messages import ModelHeader
from gossipfl.wire.preamble import ALL_KINDS, PREAMBLE_BYTES, Kind, Preamble, parse_preamble
from gossipfl.wire.round_messages import RoundHeader

__all__ = ["ReceiveInto", "ReceivedFrame", "read_frame"]

#: Fills the whole buffer with the next bytes, or raises `TruncatedFrame` when the stream ends before.
ReceiveInto = Callable[[memoryview], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedFrame:
    """A frame drained from its stream, with a body not yet read."""

    preamble: Preamble
    header: AnyHeader
    body: memoryview
    expectation: Expectation

    @property
    def size(self) -> int:
        """Length of the whole frame in bytes."""
        return PREAMBLE_BYTES + self.preamble.header_bytes + self.preamble.body_bytes

    def message(self) -> AnyMessage:
        """Read the message; for a large model, in a thread.

        Raises
        ------
        MessageRefused
            As `decode_body`.
        """
        if isinstance(self.header, ModelHeader | RoundHeader):
            return decode_body(self.header, self.body, self.expectation)
        return self.header


async def read_frame(
    receive_into: ReceiveInto,
    *,
    expectation: Expectation,
    kinds: Collection[Kind] = ALL_KINDS,
    before_body: Callable[[AnyHeader], None] | None = None,
) -> ReceivedFrame:
    """Drain one frame, allocating each part only after everything known before allows it.

    Parameters
    ----------
    receive_into : callable
        Awaited with a writable memoryview, it fills all of it, or raises `TruncatedFrame` if the stream ends.
    expectation : Expectation
    kinds : collection of Kind, optional
        The kinds that make sense at this point of the exchange.
    before_body : callable, optional
        Called with the header once it has been checked; what it raises keeps the body from being read. The
        place for `ReplayGuard.check`, rate limits and "busy".

    Raises
    ------
    MessageRefused
        As the stages do. The rest of the frame has not been read, so the stream is of no more use.
    """
    limits = expectation.limits
    start = bytearray(PREAMBLE_BYTES)
    await receive_into(memoryview(start))
    preamble = parse_preamble(start, limits=limits, kinds=kinds, versions=expectation.versions)
    packed = bytearray(preamble.header_bytes)
    if packed:
        await receive_into(memoryview(packed))
    header = parse_header(packed, preamble, limits=limits)
    exact = check(header, preamble, expectation)
    if before_body is not None:
        before_body(header)
    body = allocate_body(exact)
    if exact:
        await receive_into(body)
    return ReceivedFrame(preamble=preamble, header=header, body=body, expectation=expectation)
