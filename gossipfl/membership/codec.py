"""Bytes of statements, written and read in fixed order; every length is checked before anything is taken."""

from __future__ import annotations

import enum
import struct
from typing import Final

from gossipfl.errors import MalformedStatement
from gossipfl.membership.texts import is_plain

__all__ = ["ID_BYTES", "KEY_BYTES", "LATEST", "SERIAL_BYTES", "Kind", "Reader", "field", "integer"]

KEY_BYTES: Final = 32
#: Of a network.
ID_BYTES: Final = 32
SERIAL_BYTES: Final = 16
#: The last time that can be written, in seconds since 1970.
LATEST: Final = 2**40
_FORMS: Final = {1: "<B", 2: "<H", 4: "<I", 8: "<Q"}


class Kind(enum.IntEnum):
    """What a statement is."""

    NETWORK = 1
    CERTIFICATE = 2
    REVOCATION = 3
    ROTATION = 4
    CHARTER = 5


def integer(value: int, size: int) -> bytes:
    """Write an unsigned integer in `size` bytes, little-endian."""
    return struct.pack(_FORMS[size], value)


def field(content: bytes, *, size: int) -> bytes:
    """Write bytes after their length, itself an integer of `size` bytes."""
    return integer(len(content), size) + content


class Reader:
    """Reads what `integer` and `field` write.

    Parameters
    ----------
    data : bytes
    what : str
        What the bytes should be, for errors.
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
            There are fewer.
        """
        end = self._position + size
        if end > len(self._data):
            raise self.wrong("it ends too early")
        piece = self._data[self._position : end]
        self._position = end
        return piece

    def integer(self, size: int, *, least: int = 0, most: int | None = None) -> int:
        """Read an integer of `size` bytes in a range.

        Raises
        ------
        MalformedStatement
            It is out of its range, or not there.
        """
        [value] = struct.unpack(_FORMS[size], self.take(size))
        if value < least or (most is not None and value > most):
            raise self.wrong("a number is out of its range")
        return int(value)

    def field(self, *, size: int, most: int) -> bytes:
        """Read at most `most` bytes after their length.

        Raises
        ------
        MalformedStatement
            They are more, or not there.
        """
        return self.take(self.integer(size, most=most))

    def text(self, *, size: int, most: int) -> str:
        """Read a text of printable ASCII characters, at least one.

        Raises
        ------
        MalformedStatement
            It is none, or longer.
        """
        data = self.field(size=size, most=most)
        if not is_plain(data):
            raise self.wrong("a text is not of printable ASCII characters")
        return data.decode("ascii")

    @property
    def is_at_end(self) -> bool:
        """Whether all was read."""
        return self._position == len(self._data)

    def end(self) -> None:
        """Require that nothing follows.

        Raises
        ------
        MalformedStatement
            Something does.
        """
        if not self.is_at_end:
            raise self.wrong("bytes follow its end")

    def wrong(self, why: str) -> MalformedStatement:
        """The error of something wrong."""
        return MalformedStatement(f"this is no {self._what}: {why}")
