"""The first 24 bytes of a frame: enough to refuse it, or to know how much to read next.

This layout is the same in every version of the protocol.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Collection
from dataclasses import dataclass

from gossipfl.errors import MalformedFrame, MessageTooLarge, TruncatedFrame, UnsupportedVersion
from gossipfl.wire.limits import Limits
from gossipfl.wire.versions import SPOKEN, VersionRange

__all__ = ["ALL_KINDS", "MAGIC", "PREAMBLE_BYTES", "Kind", "Preamble", "parse_preamble"]

MAGIC = b"GSFL"
# magic, version, kind, header length, header checksum, body length
_LAYOUT = struct.Struct("<4sHHIIQ")
PREAMBLE_BYTES = _LAYOUT.size


class Kind(enum.IntEnum):
    """What a frame is."""

    MODEL = 1
    ACKNOWLEDGEMENT = 2
    VIEW = 3
    REFUSAL = 4
    ROUND = 5
    PROGRESS = 6
    NEWS = 7

    @property
    def has_body(self) -> bool:
        """Whether frames of this kind carry tensors."""
        return self in (Kind.MODEL, Kind.ROUND)


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
        """Length of the whole frame."""
        return PREAMBLE_BYTES + self.header_bytes + self.body_bytes

    def to_bytes(self) -> bytes:
        """Give the 24 bytes."""
        return _LAYOUT.pack(
            MAGIC, self.version, self.kind, self.header_bytes, self.header_checksum, self.body_bytes
        )


def parse_preamble(
    data: bytes | bytearray | memoryview,
    *,
    limits: Limits,
    kinds: Collection[Kind] = ALL_KINDS,
    versions: VersionRange = SPOKEN,
) -> Preamble:
    """Read a preamble.

    Parameters
    ----------
    data : bytes-like, 24 bytes
    limits : Limits
    kinds : collection of Kind
        The kinds that make sense at this point of the exchange.
    versions : VersionRange
        The versions spoken here. A refusal is read whatever its version, because its schema never changes.

    Raises
    ------
    TruncatedFrame, MalformedFrame, UnsupportedVersion, MessageTooLarge
    """
    if len(data) != PREAMBLE_BYTES:
        shortened = len(data) < PREAMBLE_BYTES
        error = TruncatedFrame if shortened else MalformedFrame
        raise error("a preamble has a fixed length", expected=f"{PREAMBLE_BYTES} bytes", got=len(data))
    magic, version, kind, header_bytes, header_checksum, body_bytes = _LAYOUT.unpack(data)
    if magic != MAGIC:
        raise MalformedFrame("these bytes do not begin a frame", expected=MAGIC, got=magic)
    if version not in versions and kind != Kind.REFUSAL:
        raise UnsupportedVersion(
            "the frame's protocol version is not spoken here",
            expected=versions,
            got=f"version {version}",
            remedy="Upgrade the peer whose version is lower.",
        )
    if kind not in kinds:
        welcome = " or ".join(Kind(each).name.lower() for each in sorted(kinds))
        got = Kind(kind).name.lower() if kind in ALL_KINDS else f"kind {kind}"
        raise MalformedFrame("a frame of this kind has no place here", expected=welcome, got=got)
    if header_bytes > limits.header_bytes:
        raise MessageTooLarge(
            "the header is too long", expected=f"at most {limits.header_bytes} bytes", got=header_bytes
        )
    if body_bytes and not Kind(kind).has_body:
        raise MessageTooLarge("only a row has a body", expected="0 bytes", got=body_bytes)
    return Preamble(
        version=version,
        kind=Kind(kind),
        header_bytes=header_bytes,
        header_checksum=header_checksum,
        body_bytes=body_bytes,
    )
