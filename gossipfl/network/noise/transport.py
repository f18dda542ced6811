"""Noise transport messages, in batches and without copies between layers.

Stock libp2p seals and opens one message per call and per pair of system calls. Here a batch is sealed into one
buffer for one `send`, and a message is opened directly into the buffer that its bytes are meant for. The bytes on
the wire are the same.

References
----------
T. Perrin, "The Noise Protocol Framework", section 5.1; libp2p, "noise-libp2p", section "Wire format".
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from noise.state import CipherState  # type: ignore[import-untyped]

from gossipfl.errors import MalformedFrame

__all__ = ["LARGEST_PLAINTEXT", "LARGEST_RECORD", "RecordOpener", "RecordSealer"]

_LENGTH_SIZE: Final = 2
_TAG_SIZE: Final = 16
LARGEST_PLAINTEXT: Final = 65535 - _TAG_SIZE
LARGEST_RECORD: Final = _LENGTH_SIZE + 65535

# Copying smaller pieces together costs less than sealing them separately.
_LEAST_SEPARATE_BYTES: Final = 4096


class _Cipher:
    """One direction of the session: a key and the number of messages encrypted with it."""

    def __init__(self, cipher_state: CipherState) -> None:
        self.aead = ChaCha20Poly1305(cipher_state.k)
        self._count: int = cipher_state.n

    def next_nonce(self) -> bytes:
        nonce = b"\0\0\0\0" + self._count.to_bytes(8, "little")
        self._count += 1
        return nonce


class RecordSealer:
    """Encryption of plaintext pieces into a caller's buffer.

    Parameters
    ----------
    cipher_state : noise.state.CipherState
        The sending half of a finished handshake. Nothing else may use it afterwards.
    """

    def __init__(self, cipher_state: CipherState) -> None:
        self._cipher = _Cipher(cipher_state)

    @staticmethod
    def sealed_size(pieces: list[bytes | memoryview]) -> int:
        """Return an upper bound, in bytes, on the size of the sealed pieces."""
        size = sum(len(piece) for piece in pieces)
        records = len(pieces) + 1 + size // LARGEST_PLAINTEXT
        return size + records * (_LENGTH_SIZE + _TAG_SIZE)

    def seal(self, pieces: list[bytes | memoryview], out: memoryview) -> int:
        """Seal all pieces, in order, and return the number of bytes written to `out`.

        Small pieces share a record; large ones are sealed in place.

        Parameters
        ----------
        pieces : list of bytes-like
            The plaintext.
        out : memoryview
            At least `sealed_size` of the pieces.
        """
        position = 0
        small = bytearray()
        for piece in pieces:
            if len(piece) < _LEAST_SEPARATE_BYTES:
                small += piece
                continue
            if small:
                position = self._seal_one(small, out, position)
                small = bytearray()
            view = memoryview(piece)
            for start in range(0, len(view), LARGEST_PLAINTEXT):
                position = self._seal_one(view[start : start + LARGEST_PLAINTEXT], out, position)
        for start in range(0, len(small), LARGEST_PLAINTEXT):
            position = self._seal_one(small[start : start + LARGEST_PLAINTEXT], out, position)
        return position

    def _seal_one(self, plaintext: bytearray | memoryview, out: memoryview, position: int) -> int:
        size = len(plaintext) + _TAG_SIZE
        body = position + _LENGTH_SIZE
        out[position:body] = size.to_bytes(_LENGTH_SIZE, "big")
        self._cipher.aead.encrypt_into(self._cipher.next_nonce(), plaintext, None, out[body : body + size])
        return body + size


class RecordOpener:
    """Decryption of records in received bytes.

    Parameters
    ----------
    cipher_state : noise.state.CipherState
        The receiving half of a finished handshake. Nothing else may use it afterwards.
    """

    def __init__(self, cipher_state: CipherState) -> None:
        self._cipher = _Cipher(cipher_state)

    @staticmethod
    def find(received: memoryview, position: int) -> int | None:
        """Return the ciphertext size of the record at `position` in bytes, or None if it is incomplete."""
        body = position + _LENGTH_SIZE
        if body > len(received):
            return None
        size = (received[position] << 8) | received[position + 1]
        return size if body + size <= len(received) else None

    @staticmethod
    def plain_size(size: int) -> int:
        """Return the plaintext size of a record with `size` bytes of ciphertext.

        Raises
        ------
        MalformedFrame
            The record is shorter than its tag.
        """
        if size < _TAG_SIZE:
            raise MalformedFrame("a record is shorter than its tag", expected=_TAG_SIZE, got=size)
        return size - _TAG_SIZE

    @staticmethod
    def end(position: int, size: int) -> int:
        """Return the position of the next record after the one at `position`."""
        return position + _LENGTH_SIZE + size

    def open(self, received: memoryview, position: int, size: int, out: memoryview) -> int:
        """Open the record found at `position` into the start of `out`; return its plaintext size.

        Raises
        ------
        cryptography.exceptions.InvalidTag
            The peer that completed the handshake did not seal this record, or not at this place in the stream.
        MalformedFrame
            The record is shorter than its tag.
        """
        plain_size = self.plain_size(size)
        body = position + _LENGTH_SIZE
        self._cipher.aead.decrypt_into(
            self._cipher.next_nonce(), received[body : body + size], None, out[:plain_size]
        )
        return plain_size
