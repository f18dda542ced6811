"""Protobuf messages all of whose fields are length-delimited, as those of a handshake and of identify are."""

from __future__ import annotations

from typing import Final

from gossipfl.errors import MalformedFrame

__all__ = ["field", "fields_of", "read_varint", "varint"]

_DELIMITED: Final = 2
_VARINT_BYTES: Final = 3  # lengths and numbers below 2^21: no message here is longer


def varint(number: int) -> bytes:
    """Encode an unsigned LEB128."""
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """Decode an unsigned LEB128 of at most three bytes; return it and the position behind it.

    Raises
    ------
    MalformedFrame
        It is longer, or does not end.
    """
    value = 0
    for index, byte in enumerate(data[position : position + _VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, position + index + 1
    raise MalformedFrame("a protobuf holds a number that is too long, or does not end")


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
            raise MalformedFrame("a protobuf is not of its kind, or ends inside a field")
        fields.setdefault(key >> 3, []).append(message[position : position + size])
        position += size
    return fields
