"""Network keys: the initial ones, and those after each rotation."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Final, Self

from gossipfl.errors import MalformedStatement
from gossipfl.membership.codec import ID_BYTES, KEY_BYTES, LATEST, SERIAL_BYTES, Kind, Reader, field, integer

__all__ = ["MOST_KEYS", "KeySet", "Network", "Rotation", "majority_of"]

#: Most network keys, and most signatures of a statement.
MOST_KEYS: Final = 8
_MOST_NAME: Final = 64
_NETWORK_PREFIX: Final = b"gossipfl network 1\n"


def majority_of(keys: int) -> int:
    """Return the smallest number that is more than half of the keys."""
    return keys // 2 + 1


@dataclass(frozen=True, slots=True)
class KeySet:
    """Network keys, and the number of them that must sign.

    Parameters
    ----------
    threshold : int
        From 1 to the number of keys.
    keys : tuple of bytes
        At most 8 different Ed25519 public keys in ascending order.

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
                "the network keys are invalid",
                expected=f"1 to {MOST_KEYS} different keys, of which one or more must sign",
                got=f"{self.threshold} of {len(self.keys)}",
            )

    def to_bytes(self) -> bytes:
        """Encode them."""
        return integer(self.threshold, 1) + integer(len(self.keys), 1) + b"".join(self.keys)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Decode them."""
        threshold, count = reader.integer(1), reader.integer(1, most=MOST_KEYS)
        return cls(threshold, tuple(reader.take(KEY_BYTES) for _ in range(count)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network as founded; its id is the digest of this.

    Parameters
    ----------
    name : str
        1 to 64 printable ASCII characters, for people.
    nonce : bytes, length 16
    """

    kind: ClassVar[Kind] = Kind.NETWORK
    name: str
    nonce: bytes
    keys: KeySet

    @property
    def id(self) -> bytes:
        """SHA-256 of these bytes, so another network of the same name has another id."""
        return hashlib.sha256(_NETWORK_PREFIX + self.to_bytes()).digest()

    def to_bytes(self) -> bytes:
        """Encode the network."""
        return field(self.name.encode("ascii"), size=1) + self.nonce + self.keys.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a network, or raise `MalformedStatement`."""
        reader = Reader(data, what="network")
        name = reader.text(size=1, most=_MOST_NAME)
        network = cls(name=name, nonce=reader.take(SERIAL_BYTES), keys=KeySet.read(reader))
        reader.end()
        return network


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """Replacement of the network keys.

    Parameters
    ----------
    network : bytes, length 32
    number : int
        Counted from 1.
    previous_until : int
        When signatures by earlier keys expire, in seconds since 1970.
    """

    kind: ClassVar[Kind] = Kind.ROTATION
    network: bytes
    number: int
    previous_until: int
    keys: KeySet

    def to_bytes(self) -> bytes:
        """Encode the rotation."""
        return self.network + integer(self.number, 4) + integer(self.previous_until, 8) + self.keys.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a rotation, or raise `MalformedStatement`."""
        reader = Reader(data, what="rotation")
        rotation = cls(
            network=reader.take(ID_BYTES),
            number=reader.integer(4, least=1),
            previous_until=reader.integer(8, most=LATEST),
            keys=KeySet.read(reader),
        )
        reader.end()
        return rotation
