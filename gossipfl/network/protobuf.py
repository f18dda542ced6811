"""Protobuf messages with only length-delimited fields, such as those of the handshake and identify."""

from __future__ import annotations

from typing import Final

from gossipfl.errors import MalformedFrame

__all__ = ["field", "fields_of", "read_varint", "varint"]

_DELIMITED: Final = 2
_VARINT_BYTES: Final = 3  # numbers below 2^21; no message here is longer


def varint(number: int) -> bytes:
    """Encode a number as unsigned LEB128."""
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """Decode an unsigned LEB128 of at most three bytes; return the number and the position after it.

    Raises
    ------
    MalformedFrame
        It is longer, or incomplete.
    """
    value = 0
    for index, byte in enumerate(data[position : position + _VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, position + index + 1
    raise MalformedFrame("a protobuf holds a number that is too long or incomplete")


def field(number: int, content: bytes) -> bytes:
    """Encode a field."""
    return varint(number << 3 | _DELIMITED) + varint(len(content)) + content


def fields_of(message: bytes) -> dict[int, list[bytes]]:
    """Return the contents of all fields, by number.

    Raises
    ------
    MalformedFrame
        The message ends inside a field, or has one that is not length-delimited.
    """
    fields: dict[int, list[bytes]] = {}
    position = 0
    while position < len(message):
        key, position = read_varint(message, position)
        size, position = read_varint(message, position)
        if key & 7 != _DELIMITED or position + size > len(message):
            raise MalformedFrame("a protobuf field is incomplete, or not length-delimited")
        fields.setdefault(key >> 3, []).append(message[position : position + size])
        position += size
    return fields
