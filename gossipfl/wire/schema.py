"""Strict validation of a header's fields: exact keys, exact types, ranges and lengths."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from typing import Any

from gossipfl.errors import MalformedFrame, MessageTooLarge
from gossipfl.wire.limits import LARGEST_INTEGER

__all__ = [
    "DIGEST_BYTES",
    "SIGNATURE_BYTES",
    "Fields",
    "glimpse",
    "require_array",
    "require_bytes",
    "require_integer",
    "require_string",
]

DIGEST_BYTES = 32
SIGNATURE_BYTES = 64


def glimpse(value: object) -> str:
    """Return a short, printable description of an untrusted value."""
    shown = reprlib.repr(value).encode("ascii", "backslashreplace").decode("ascii")
    return f"{type(value).__name__} {shown[:80]}"


def require_string(value: object, *, what: str, most: int, pattern: re.Pattern[str]) -> str:
    """Require a string of at most `most` characters that the pattern matches completely."""
    if type(value) is not str:
        raise MalformedFrame(f"{what} is not a string", expected="str", got=glimpse(value))
    if len(value) > most:
        raise MessageTooLarge(f"{what} is too long", expected=f"at most {most} characters", got=len(value))
    if not pattern.fullmatch(value):
        raise MalformedFrame(
            f"{what} has invalid characters", expected=f"/{pattern.pattern}/", got=glimpse(value)
        )
    return value


def require_integer(value: object, *, what: str, least: int = 0, most: int = LARGEST_INTEGER) -> int:
    """Require an integer from `least` to `most`; a boolean is not one."""
    if type(value) is not int or not least <= value <= most:
        expected = f"an integer from {least} to {most}"
        raise MalformedFrame(f"{what} is out of range", expected=expected, got=glimpse(value))
    return value


def require_bytes(value: object, *, what: str, length: int | None = None, most: int | None = None) -> bytes:
    """Require bytes of exactly one length, or of at most `most`."""
    if type(value) is not bytes or len(value) != (len(value) if length is None else length):
        expected = "bytes" if length is None else f"{length} bytes"
        raise MalformedFrame(f"{what} has the wrong type or length", expected=expected, got=glimpse(value))
    if most is not None and len(value) > most:
        raise MessageTooLarge(f"{what} is too long", expected=f"at most {most} bytes", got=len(value))
    return value


def require_array(value: object, *, what: str, most: int, exactly: int | None = None) -> list[Any]:
    """Require an array of at most `most` elements, or of exactly `exactly`."""
    if type(value) not in (list, tuple):
        raise MalformedFrame(f"{what} is not an array", expected="array", got=glimpse(value))
    elements: list[Any] = list(value)  # type: ignore[call-overload]  # narrowed above
    if exactly is not None and len(elements) != exactly:
        raise MalformedFrame(f"{what} has the wrong length", expected=exactly, got=len(elements))
    if len(elements) > most:
        raise MessageTooLarge(f"{what} is too long", expected=f"at most {most} elements", got=len(elements))
    return elements


class Fields:
    """The fields of one header, read by name.

    Parameters
    ----------
    fields : object
        The unpacked header.
    keys : tuple of str
        The exact keys of a header of this kind.

    Raises
    ------
    MalformedFrame
        The header is not a map, or has different keys.
    """

    def __init__(self, fields: object, *, keys: tuple[str, ...]) -> None:
        if not isinstance(fields, Mapping):
            raise MalformedFrame("the header is not a map", expected="map", got=glimpse(fields))
        if set(fields) != set(keys):
            raise MalformedFrame(
                "the header has the wrong keys", expected=sorted(keys), got=glimpse(list(fields))
            )
        self._fields = fields

    def integer(self, key: str, *, least: int = 0, most: int = LARGEST_INTEGER) -> int:
        """Read an integer from `least` to `most`."""
        return require_integer(self._fields[key], what=key, least=least, most=most)

    def boolean(self, key: str) -> bool:
        """Read a boolean."""
        value = self._fields[key]
        if type(value) is not bool:
            raise MalformedFrame(f"{key} is not a boolean", expected="bool", got=glimpse(value))
        return value

    def digest(self, key: str) -> bytes:
        """Read a digest of 32 bytes."""
        return require_bytes(self._fields[key], what=f"the digest {key}", length=DIGEST_BYTES)

    def content(self, key: str, *, most: int) -> bytes:
        """Read at most `most` bytes."""
        return require_bytes(self._fields[key], what=key, most=most)

    def string(self, key: str, *, most: int, pattern: re.Pattern[str]) -> str:
        """Read a string of at most `most` characters."""
        return require_string(self._fields[key], what=key, most=most, pattern=pattern)

    def array(self, key: str, *, most: int) -> list[Any]:
        """Read an array of at most `most` elements."""
        return require_array(self._fields[key], what=key, most=most)
