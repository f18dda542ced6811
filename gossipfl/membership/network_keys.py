"""Keys of a network: at its beginning, and after each rotation."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Final, Self

from gossipfl.errors import MalformedStatement
from gossipfl.membership.codec import ID_BYTES, KEY_BYTES, LATEST, SERIAL_BYTES, Kind, Reader, field, integer

__all__ = ["MOST_KEYS", "KeySet", "Network", "Rotation"]

#: Network keys; who signs has at most as many.
MOST_KEYS: Final = 8
_MOST_NAME: Final = 64
_NETWORK_PREFIX: Final = b"gossipfl network 1\n"


@dataclass(frozen=True, slots=True)
class KeySet:
    """Network keys, and how many of them must sign.

    Parameters
    ----------
    threshold : int
        From 1 to as many as there are keys.
    keys : tuple of bytes
        Ed25519 public keys in ascending order, each once; at most 8.

    Raises
    ------
    MalformedStatement
        They are not.
    """

    threshold: int
    keys: tuple[bytes, ...]

    def __post_init__(self) -> None:
        ordered = all(a < b for a, b in pairwise(self.keys))
        if not ordered or not 1 <= self.threshold <= len(self.keys) <= MOST_KEYS:
            raise MalformedStatement(
                "these are no network keys",
                expected=f"1 to {MOST_KEYS} different keys, of which one or more must sign",
                got=f"{self.threshold} of {len(self.keys)}",
            )

    def to_bytes(self) -> bytes:
        """Write them."""
        return integer(self.threshold, 1) + integer(len(self.keys), 1) + b"".join(self.keys)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read them."""
        threshold, count = reader.integer(1), reader.integer(1, most=MOST_KEYS)
        return cls(threshold, tuple(reader.take(KEY_BYTES) for _ in range(count)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network at its beginning; its id is the digest of this.

    Parameters
    ----------
    name : str
        For people: 1 to 64 printable ASCII characters.
    nonce : bytes, length 16
    keys : KeySet
    """

    kind: ClassVar[Kind] = Kind.NETWORK
    name: str
    nonce: bytes
    keys: KeySet

    @property
    def id(self) -> bytes:
        """SHA-256 of these bytes: who knows it cannot be shown another network of the name."""
        return hashlib.sha256(_NETWORK_PREFIX + self.to_bytes()).digest()

    def to_bytes(self) -> bytes:
        """Write it."""
        return field(self.name.encode("ascii"), size=1) + self.nonce + self.keys.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read it, or raise `MalformedStatement`."""
        reader = Reader(data, what="network")
        name = reader.text(size=1, most=_MOST_NAME)
        network = cls(name=name, nonce=reader.take(SERIAL_BYTES), keys=KeySet.read(reader))
        reader.end()
        return network


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """Other network keys from now on.

    Parameters
    ----------
    network : bytes, length 32
    number : int
        1 for the first rotation, and so on.
    previous_until : int
        Until when what the keys before have signed is still valid; seconds since 1970.
    keys : KeySet
    """

    kind: ClassVar[Kind] = Kind.ROTATION
    network: bytes
    number: int
    previous_until: int
    keys: KeySet

    def to_bytes(self) -> bytes:
        """Write it."""
        return self.network + integer(self.number, 4) + integer(self.previous_until, 8) + self.keys.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read it, or raise `MalformedStatement`."""
        reader = Reader(data, what="rotation")
        rotation = cls(
            network=reader.take(ID_BYTES),
            number=reader.integer(4, least=1),
            previous_until=reader.integer(8, most=LATEST),
            keys=KeySet.read(reader),
        )
        reader.end()
        return rotation
