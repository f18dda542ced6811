"""Texts that people copy: printable ASCII, and bytes in base 32."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

__all__ = ["decoded", "encoded", "is_plain"]

_PLAIN: Final = re.compile(rb"[ -~]+")
_BASE32: Final = re.compile(r"[a-z2-7]*")


def is_plain(data: bytes) -> bool:
    """Return whether bytes are one or more printable ASCII characters."""
    return _PLAIN.fullmatch(data) is not None


def encoded(data: bytes) -> str:
    """Encode bytes in base 32 (RFC 4648), lower case and without padding, so a double click selects all of it."""
    return base64.b32encode(data).decode("ascii").rstrip("=").lower()


def decoded(text: str) -> bytes | None:
    """Decode the result of `encoded`; None for any other text."""
    if not _BASE32.fullmatch(text):
        return None
    try:
        data = base64.b32decode(text.upper() + "=" * (-len(text) % 8))
    except binascii.Error:
        return None
    return data if encoded(data) == text else None  # exactly one text for the same bytes
