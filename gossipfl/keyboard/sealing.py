"""Sealed records of a typing store: authenticated encryption, with each record bound to its place.

A record on disk is ``length (4 bytes) | nonce (12) | ChaCha20-Poly1305 of the padded content (RFC 8439)``. What is
authenticated with it is what the record is for, its generation and its number, so that a record changed, moved,
repeated or taken from another generation does not open. Contents are padded to multiples of 64 bytes: their sizes
would tell how long each word is.
"""

from __future__ import annotations

import os
import secrets
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from gossipfl.errors import CorruptTyping
from gossipfl.files import create_atomically, named_errors, write_atomically

__all__ = ["OVERHEAD", "Key", "load_key", "new_key", "record_length", "replace_key", "store_key"]

_MAGIC: Final = b"gossipfl typing key 1\n"
_KEY = struct.Struct(f">{len(_MAGIC)}sQ32s")
_PLACE = struct.Struct(">8sQQ")
_LENGTH = struct.Struct(">I")
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_PADDED_TO: Final = 64
OVERHEAD: Final = _LENGTH.size + _NONCE_BYTES + _TAG_BYTES
"""Bytes of a sealed record beside its padded content."""


@dataclass(frozen=True, slots=True)
class Key:
    """Key of one generation of a store.

    Parameters
    ----------
    generation : int
        From 1; another with each rewriting of the store.
    secret : bytes
        32 bytes.
    """

    generation: int
    secret: bytes = field(repr=False)

    def sealed(self, content: bytes, *, kind: bytes, number: int) -> bytes:
        """Seal a content as a whole record.

        Parameters
        ----------
        content : bytes
        kind : bytes
            What it is for, at most 8 bytes.
        number : int
            Its place among those of its kind.
        """
        padded = content + b"\x80"
        padded += bytes(-len(padded) % _PADDED_TO)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        closed = ChaCha20Poly1305(self.secret).encrypt(nonce, padded, self._place(kind, number))
        return _LENGTH.pack(len(nonce) + len(closed)) + nonce + closed

    def opened(self, record: bytes, *, kind: bytes, number: int) -> bytes | None:
        """Content of a whole record; None if it is not the one of this kind and number."""
        body = record[_LENGTH.size :]
        try:
            padded = ChaCha20Poly1305(self.secret).decrypt(
                body[:_NONCE_BYTES], body[_NONCE_BYTES:], self._place(kind, number)
            )
        except (InvalidTag, ValueError):
            return None
        return padded.rstrip(b"\0")[:-1]

    def _place(self, kind: bytes, number: int) -> bytes:
        return _PLACE.pack(kind, self.generation, number)


def record_length(data: bytes, start: int) -> int | None:
    """Bytes of the record that begins at a place; None if it is not there as a whole."""
    if start + _LENGTH.size > len(data):
        return None
    length = _LENGTH.size + int(_LENGTH.unpack_from(data, start)[0])
    return length if OVERHEAD < length <= len(data) - start else None


def new_key(generation: int) -> Key:
    """A fresh key."""
    return Key(generation, secrets.token_bytes(32))


def load_key(path: Path) -> Key | None:
    """Read a key; None if there is none.

    Raises
    ------
    CorruptTyping
        It is damaged, or other users can read it.
    HomeError
        It cannot be read.
    """
    with named_errors(f"the key {path} cannot be read"):
        try:
            content, mode = path.read_bytes(), path.stat().st_mode
        except FileNotFoundError:
            return None
    if mode & 0o077:
        raise CorruptTyping(
            f"other users have access to the key {path}",
            expected="mode 600",
            got=f"{mode & 0o777:o}",
            remedy=f"chmod 600 {path}; if somebody may have read it, have everything forgotten.",
        )
    if len(content) != _KEY.size or not content.startswith(_MAGIC):
        raise CorruptTyping(
            f"the key {path} is damaged",
            expected=f"{_KEY.size} bytes",
            got=f"{len(content)} bytes",
            remedy=f"Delete {path.parent}: nothing in it can be read without the key.",
        )
    _, generation, secret = _KEY.unpack(content)
    return Key(generation, secret)


def store_key(path: Path, key: Key) -> None:
    """Write the first key of a store, with mode 0600."""
    create_atomically(path, _KEY.pack(_MAGIC, key.generation, key.secret))


def replace_key(path: Path, key: Key) -> None:
    """Replace a key at once, and then overwrite the old one where it lay.

    Raises
    ------
    OSError
    """
    old = os.open(path, os.O_WRONLY)
    try:
        write_atomically(path, _KEY.pack(_MAGIC, key.generation, key.secret))
        os.pwrite(old, bytes(_KEY.size), 0)
        os.fsync(old)
    finally:
        os.close(old)
