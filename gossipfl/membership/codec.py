"""Binary encoding of statements in a fixed order of fields, whose lengths are checked before reading."""

from __future__ import annotations

import enum
import struct
from typing import Final

from gossipfl.errors import MalformedStatement
from gossipfl.membership.texts import is_plain

__all__ = ["ID_BYTES", "KEY_BYTES", "LATEST", "SERIAL_BYTES", "Kind", "Reader", "field", "integer"]

KEY_BYTES: Final = 32
ID_BYTES: Final = 32
SERIAL_BYTES: Final = 16
#: The latest time that can be encoded, in seconds since 1970.
LATEST: Final = 2**40
_FORMS: Final = {1: "<B", 2: "<H", 4: "<I", 8: "<Q"}


class Kind(enum.IntEnum):
    """Kinds of statements."""

    NETWORK = 1
    CERTIFICATE = 2
    REVOCATION = 3
    ROTATION = 4
    CHARTER = 5


def integer(value: int, size: int) -> bytes:
    """Encode an unsigned integer in `size` bytes, little-endian."""
    return struct.pack(_FORMS[size], value)


def field(content: bytes, *, size: int) -> bytes:
    """Encode bytes, preceded by their length as an integer of `size` bytes."""
    return integer(len(content), size) + content


class Reader:
    """Decodes what `integer` and `field` encode.

    Parameters
    ----------
    what : str
        Name of the encoded object, for errors.
    """

    def __init__(self, data: bytes, *, what: str) -> None:
        self._data = data
        self._what = what
        self._position = 0

    def take(self, size: int) -> bytes:
        """Read exactly `size` bytes.

        Raises
        ------
        MalformedStatement
            Fewer are left.
        """
        end = self._position + size
        if end > len(self._data):
            raise self.wrong("it ends too early")
        piece = self._data[self._position : end]
        self._position = end
        return piece

    def integer(self, size: int, *, least: int = 0, most: int | None = None) -> int:
        """Read an integer of `size` bytes within a range.

        Raises
        ------
        MalformedStatement
            It is out of range, or missing.
        """
        [value] = struct.unpack(_FORMS[size], self.take(size))
        if value < least or (most is not None and value > most):
            raise self.wrong("a number is out of range")
        return int(value)

    def field(self, *, size: int, most: int) -> bytes:
        """Read at most `most` bytes that are preceded by their length.

        Raises
        ------
        MalformedStatement
            They are more, or missing.
        """
        return self.take(self.integer(size, most=most))

    def text(self, *, size: int, most: int) -> str:
        """Read a text of one or more printable ASCII characters.

        Raises
        ------
        MalformedStatement
            It holds others, or is longer.
        """
        data = self.field(size=size, most=most)
        if not is_plain(data):
            raise self.wrong("a text is not printable ASCII")
        return data.decode("ascii")

    @property
    def is_at_end(self) -> bool:
        """Whether everything has been read."""
        return self._position == len(self._data)

    def end(self) -> None:
        """Require that everything has been read.

        Raises
        ------
        MalformedStatement
            Bytes are left.
        """
        if not self.is_at_end:
            raise self.wrong("bytes follow its end")

    def wrong(self, why: str) -> MalformedStatement:
        """Return the error for invalid data."""
        return MalformedStatement(f"this is not a valid {self._what}: {why}")
