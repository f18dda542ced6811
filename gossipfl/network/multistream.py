"""Protocol negotiation by multistream-select, with bounded lines.

References
----------
"multistream-select", https://github.com/multiformats/multistream-select
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Protocol

from gossipfl.errors import MalformedFrame, MessageTooLarge, ProtocolNotSpoken

__all__ = ["MOST_LINE_BYTES", "MOST_PROPOSALS", "Channel", "accept", "propose"]

_GREETING: Final = b"/multistream/1.0.0"
_UNKNOWN: Final = b"na"
#: A line holds the name of a protocol; those in use are shorter than 80 bytes.
MOST_LINE_BYTES: Final = 256
#: Protocols that may be proposed for one stream or connection.
MOST_PROPOSALS: Final = 16


class Channel(Protocol):
    """The two operations that a negotiation needs."""

    async def read_exactly(self, size: int) -> bytes:
        """Return the next `size` bytes."""

    async def write(self, data: bytes) -> None:
        """Send all of `data`."""


async def propose(channel: Channel, *protocols: str) -> str:
    """Propose protocols until one is accepted, and return it. The caller sets the deadline.

    Raises
    ------
    ProtocolNotSpoken
        The other side speaks none of them.
    MalformedFrame, MessageTooLarge
        Its answer is not a valid negotiation.
    """
    greeting = _line(_GREETING)
    for protocol in protocols:
        name = protocol.encode()
        await channel.write(greeting + _line(name))
        if greeting:
            await _greeted(channel)
            greeting = b""
        if (answer := await _read_line(channel)) == name:
            return protocol
        if answer != _UNKNOWN:
            raise MalformedFrame("invalid answer to a protocol proposal", expected=protocol, got=answer[:80])
    raise ProtocolNotSpoken("the other side does not speak the protocol", expected=" or ".join(protocols))


async def accept(channel: Channel, protocols: Collection[str]) -> str:
    """Answer proposals until one is among `protocols`, and return it. The caller sets the deadline.

    Raises
    ------
    MalformedFrame, MessageTooLarge
        The bytes are not a valid negotiation, or there are too many proposals.
    """
    names = {protocol.encode(): protocol for protocol in protocols}
    await _greeted(channel)
    await channel.write(_line(_GREETING))
    for _ in range(MOST_PROPOSALS):
        proposal = await _read_line(channel)
        known = names.get(proposal)
        await channel.write(_line(proposal if known else _UNKNOWN))
        if known:
            return known
    raise MalformedFrame("too many protocols were proposed", expected=f"at most {MOST_PROPOSALS}")


async def _greeted(channel: Channel) -> None:
    if (greeting := await _read_line(channel)) != _GREETING:
        raise MalformedFrame("this is not a protocol negotiation", expected=_GREETING, got=greeting[:80])


def _line(text: bytes) -> bytes:
    length = len(text) + 1
    prefix = bytes([length]) if length < 0x80 else bytes([0x80 | length & 0x7F, length >> 7])
    return prefix + text + b"\n"


async def _read_line(channel: Channel) -> bytes:
    """Read a line, preceded by its length as an unsigned LEB128; two bytes suffice to exceed the limit."""
    [length] = await channel.read_exactly(1)
    if length & 0x80:
        [high] = await channel.read_exactly(1)
        length = length & 0x7F | (MOST_LINE_BYTES + 1 if high & 0x80 else high) << 7
    if length > MOST_LINE_BYTES:
        raise MessageTooLarge(
            "a line of a protocol negotiation is too long", expected=f"at most {MOST_LINE_BYTES} bytes"
        )
    line = await channel.read_exactly(length)
    if not line.endswith(b"\n"):
        raise MalformedFrame("a line of a protocol negotiation has no end", got=line[:80])
    return line[:-1]
