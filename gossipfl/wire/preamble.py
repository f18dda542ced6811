"""The first 24 bytes of a frame: enough to refuse it, or to know how much to read next.

The layout is the same in every version of the protocol.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Collection
from dataclasses import dataclass

from gossipfl.errors import MalformedFrame, MessageTooLarge, TruncatedFrame, UnsupportedVersion
from gossipfl.wire.limits import Limits

__all__ = [
    "ALL_KINDS",
    "KIND_OFFSET",
    "MAGIC",
    "PREAMBLE_BYTES",
    "VERSION",
    "Kind",
    "Preamble",
    "parse_preamble",
]

MAGIC = b"GSFL"
#: The version spoken. Earlier ones are refused by name: in them large rows are sent without asking.
VERSION = 4
# magic, version, kind, header length, header checksum, body length
_LAYOUT = struct.Struct("<4sHHIIQ")
PREAMBLE_BYTES = _LAYOUT.size
KIND_OFFSET = len(MAGIC) + 2


class Kind(enum.IntEnum):
    """Kinds of frames."""

    MODEL = 1
    ACKNOWLEDGEMENT = 2
    VIEW = 3
    REFUSAL = 4
    ROUND = 5
    PROGRESS = 6
    NEWS = 7
    CLEARANCE = 8
    PULL = 9
    PART = 10
    SUM = 11

    @property
    def has_body(self) -> bool:
        """Whether frames of this kind carry tensors."""
        return self in (Kind.MODEL, Kind.PART, Kind.ROUND)


ALL_KINDS = frozenset(Kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preamble:
    """Version and kind of a frame, the lengths of header and body in bytes, and the header's xxh32."""

    version: int
    kind: Kind
    header_bytes: int
    header_checksum: int
    body_bytes: int

    @property
    def frame_bytes(self) -> int:
        """Length of the frame."""
        return PREAMBLE_BYTES + self.header_bytes + self.body_bytes

    def to_bytes(self) -> bytes:
        """Return the 24 bytes."""
        return _LAYOUT.pack(
            MAGIC, self.version, self.kind, self.header_bytes, self.header_checksum, self.body_bytes
        )


def parse_preamble(
    data: bytes | bytearray | memoryview,
    *,
    limits: Limits,
    kinds: Collection[Kind] = ALL_KINDS,
) -> Preamble:
    """Read a preamble of 24 bytes. A refusal is read whatever its version, because its schema never changes.

    Parameters
    ----------
    kinds : collection of Kind
        The kinds allowed at this point of the exchange.

    Raises
    ------
    TruncatedFrame, MalformedFrame, UnsupportedVersion, MessageTooLarge
    """
    if len(data) != PREAMBLE_BYTES:
        error = TruncatedFrame if len(data) < PREAMBLE_BYTES else MalformedFrame
        raise error("the preamble has the wrong length", expected=f"{PREAMBLE_BYTES} bytes", got=len(data))
    magic, version, kind, header_bytes, header_checksum, body_bytes = _LAYOUT.unpack(data)
    if magic != MAGIC:
        raise MalformedFrame("these bytes do not begin a frame", expected=MAGIC, got=magic)
    if version != VERSION and kind != Kind.REFUSAL:
        raise UnsupportedVersion(
            "this peer does not speak the frame's protocol version",
            expected=f"version {VERSION}",
            got=f"version {version}",
            remedy="Upgrade the peer whose version is lower.",
        )
    if kind not in kinds:
        allowed = " or ".join(Kind(each).name.lower() for each in sorted(kinds))
        got = Kind(kind).name.lower() if kind in ALL_KINDS else f"kind {kind}"
        raise MalformedFrame("a frame of this kind is out of place here", expected=allowed, got=got)
    if header_bytes > limits.header_bytes:
        raise MessageTooLarge(
            "the header is too long", expected=f"at most {limits.header_bytes} bytes", got=header_bytes
        )
    if body_bytes and not Kind(kind).has_body:
        raise MessageTooLarge("only a row may have a body", expected="0 bytes", got=body_bytes)
    return Preamble(
        version=version,
        kind=Kind(kind),
        header_bytes=header_bytes,
        header_checksum=header_checksum,
        body_bytes=body_bytes,
    )
