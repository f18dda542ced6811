"""Masks of rows: ChaCha20 streams of secrets that HKDF derives, one for each purpose."""

from __future__ import annotations

from typing import Final

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gossipfl.errors import SumKeyForged
from gossipfl.secure.ring import RingRow

__all__ = ["KEY_BYTES", "add_stream", "agreed", "derived", "private_key"]

KEY_BYTES: Final = 32
_CHUNK: Final = 1 << 18
_ZEROS: Final = bytes(_CHUNK)
_NONCE: Final = bytes(16)  # each key is for one stream


def derived(secret: bytes, *, session: bytes, purpose: bytes) -> bytes:
    """Derive a key of 32 bytes for one purpose in one session."""
    return HKDF(SHA256(), length=KEY_BYTES, salt=session, info=b"gossipfl sum 1\n" + purpose).derive(secret)


def private_key(seed: bytes, *, session: bytes, number: int) -> X25519PrivateKey:
    """Derive a member's private key for pairwise masks from its seed of 16 bytes."""
    purpose = b"private key" + number.to_bytes(4, "little")
    return X25519PrivateKey.from_private_bytes(derived(seed, session=session, purpose=purpose))


def agreed(private: X25519PrivateKey, public: bytes) -> bytes:
    """Return the secret that two keys agree on.

    Raises
    ------
    SumKeyForged
        The public key is degenerate: everybody would know the secret.
    """
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise SumKeyForged("a public key is degenerate", expected="a point of large order") from None


def add_stream(row: RingRow, key: bytes, *, subtract: bool = False) -> None:
    """Add the ChaCha20 stream of a key to a row in place, or subtract it."""
    stream = Cipher(ChaCha20(key, _NONCE), mode=None).encryptor()
    add = np.subtract if subtract else np.add
    step = _CHUNK // row.itemsize
    for start in range(0, len(row), step):
        part = row[start : start + step]
        mask = np.frombuffer(stream.update(memoryview(_ZEROS)[: part.nbytes]), dtype=row.dtype)
        add(part, mask, out=part)
