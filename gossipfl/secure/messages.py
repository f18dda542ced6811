"""Messages of a masked sum between its receiver and one neighbour, each with exactly one encoding.

The receiver asks and the neighbour answers: `Introduction` with a `SignedKey`, `Invitation` with `SealedShares`,
`Participants` with `Unopened`, and, after the masked rows, `Survivors` with a signature, `Signatures` with
`RevealedShares`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

from gossipfl.membership.codec import Reader, integer
from gossipfl.secure.keys import SIGNATURE_BYTES, SignedKey
from gossipfl.secure.masks import KEY_BYTES
from gossipfl.secure.session import MOST_SUMMANDS

__all__ = [
    "COMMITMENT_BYTES",
    "KEYS_DIGEST_BYTES",
    "SEALED_BYTES",
    "SECRET_BYTES",
    "SET_BYTES",
    "Introduction",
    "Invitation",
    "Participant",
    "Participants",
    "RevealedShares",
    "SealedShares",
    "Signatures",
    "Survivors",
    "Unopened",
]

SECRET_BYTES: Final = 16
#: A share of the self mask's secret, one of the private key's seed, and an authentication tag.
SEALED_BYTES: Final = 2 * SECRET_BYTES + 16
COMMITMENT_BYTES: Final = 32
KEYS_DIGEST_BYTES: Final = 16
SET_BYTES: Final = MOST_SUMMANDS // 8


def _set_bytes(places: Iterable[int]) -> bytes:
    return sum(1 << place for place in set(places)).to_bytes(SET_BYTES, "little")


def _read_set(reader: Reader) -> tuple[int, ...]:
    bits = int.from_bytes(reader.take(SET_BYTES), "little")
    return tuple(place for place in range(MOST_SUMMANDS) if bits >> place & 1)


@dataclass(frozen=True, slots=True)
class Introduction:
    """Keys of members that the neighbour may not know yet."""

    keys: tuple[SignedKey, ...]

    def to_bytes(self) -> bytes:
        """Encode the message."""
        return integer(len(self.keys), 1) + b"".join(key.to_bytes() for key in self.keys)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode the message, or raise `MalformedStatement`."""
        reader = Reader(data, what="introduction")
        keys = tuple(SignedKey.read(reader) for _ in range(reader.integer(1, most=MOST_SUMMANDS)))
        reader.end()
        return cls(keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """Which neighbours are to share their secrets with one another, under which keys.

    Parameters
    ----------
    places : tuple of int
    keys : bytes, length 16
        Digest of their signed keys, by which a neighbour notices that somebody has started again.
    """

    places: tuple[int, ...]
    keys: bytes

    def to_bytes(self) -> bytes:
        """Encode the message."""
        return _set_bytes(self.places) + self.keys

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode the message, or raise `MalformedStatement`."""
        reader = Reader(data, what="invitation")
        invitation = cls(places=_read_set(reader), keys=reader.take(KEYS_DIGEST_BYTES))
        reader.end()
        return invitation


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedShares:
    """A neighbour's answer to its invitation.

    Parameters
    ----------
    public : bytes, length 32
        X25519 key for pairwise masks, of this sum alone.
    commitment : bytes, length 32
        Digest of the self mask's secret, for the receiver.
    sealed : tuple of bytes
        Shares for each of the other invited neighbours, in order of their places.
    """

    public: bytes
    commitment: bytes
    sealed: tuple[bytes, ...]

    def to_bytes(self) -> bytes:
        """Encode the message."""
        return self.public + self.commitment + integer(len(self.sealed), 1) + b"".join(self.sealed)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode the message, or raise `MalformedStatement`."""
        reader = Reader(data, what="answer to an invitation")
        message = cls(
            public=reader.take(KEY_BYTES),
            commitment=reader.take(COMMITMENT_BYTES),
            sealed=tuple(reader.take(SEALED_BYTES) for _ in range(reader.integer(1, most=MOST_SUMMANDS))),
        )
        reader.end()
        return message


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """What a neighbour is told of another: its public key, and the shares sealed for the neighbour."""

    public: bytes
    sealed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Participants:
    """All neighbours that have shared their secrets, as one of them is told.

    Parameters
    ----------
    places : tuple of int
        Places of all of them, in increasing order.
    others : tuple of Participant
        Those besides the addressee, in the same order.
    """

    places: tuple[int, ...]
    others: tuple[Participant, ...]

    def to_bytes(self) -> bytes:
        """Encode the message."""
        return _set_bytes(self.places) + b"".join(each.public + each.sealed for each in self.others)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode the message, or raise `MalformedStatement`."""
        reader = Reader(data, what="list of participants")
        places = _read_set(reader)
        others = tuple(
            Participant(public=reader.take(KEY_BYTES), sealed=reader.take(SEALED_BYTES)) for _ in places[1:]
        )
        reader.end()
        return cls(places=places, others=others)


@dataclass(frozen=True, slots=True)
class Unopened:
    """Places of the participants whose shares a neighbour could not open; no bytes at all where it opened all."""

    places: tuple[int, ...]

    def to_bytes(self) -> bytes:
        """Encode the message."""
        return _set_bytes(self.places) if self.places else b""

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode the message, or raise `MalformedStatement`."""
        if not data:
            return cls(())
        reader = Reader(data, what="list of shares that could not be opened")
        places = _read_set(reader)
        reader.end()
        return cls(places)


@dataclass(frozen=True, slots=True)
class Survivors:
    """Places of the neighbours whose masked rows arrived."""

    places: tuple[int, ...]

    def to_bytes(self) -> bytes:
        """Encode the message."""
        return _set_bytes(self.places)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode the message, or raise `MalformedStatement`."""
        reader = Reader(data, what="list of survivors")
        places = _read_set(reader)
        reader.end()
        return cls(places)


@dataclass(frozen=True, slots=True)
class Signatures:
    """Signatures of the survivors' list, by place, in increasing order."""

    by_place: tuple[tuple[int, bytes], ...]

    def to_bytes(self) -> bytes:
        """Encode the message."""
        return _set_bytes(place for place, _ in self.by_place) + b"".join(each for _, each in self.by_place)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode the message, or raise `MalformedStatement`."""
        reader = Reader(data, what="list of signatures")
        places = _read_set(reader)
        signatures = tuple((place, reader.take(SIGNATURE_BYTES)) for place in places)
        reader.end()
        return cls(signatures)


@dataclass(frozen=True, slots=True)
class RevealedShares:
    """One share of each participant's secret, in order of their places.

    Of a survivor's self mask, or of the private key of one that dropped out; never of both.
    """

    shares: Sequence[bytes]

    def to_bytes(self) -> bytes:
        """Encode the message."""
        return integer(len(self.shares), 1) + b"".join(self.shares)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode the message, or raise `MalformedStatement`."""
        reader = Reader(data, what="list of shares")
        shares = tuple(reader.take(SECRET_BYTES) for _ in range(reader.integer(1, most=MOST_SUMMANDS)))
        reader.end()
        return cls(shares)
