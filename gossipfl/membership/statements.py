"""Statements about members: certificates, revocations and charters.

Each statement has exactly one encoding (``docs/membership.md``), so signatures and digests are unambiguous.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Final, Self

from gossipfl.membership.codec import ID_BYTES, KEY_BYTES, LATEST, SERIAL_BYTES, Kind, Reader, field, integer
from gossipfl.membership.network_keys import Network, Rotation

__all__ = ["MOST_FIELDS", "Body", "Certificate", "Charter", "Revocation", "Role"]

MOST_FIELDS: Final = 64
_MOST_NAME: Final = 64
_MOST_VALUE: Final = 512


class Role(enum.IntEnum):
    """Rights of a member: taking part, or also issuing certificates to others."""

    MEMBER = 1
    ISSUER = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A peer's membership of a network for a limited time.

    Parameters
    ----------
    network : bytes, length 32
    subject : bytes, length 32
        The peer's public key.
    not_before, expires : int
        Seconds since 1970; valid from the first until just before the second.
    serial : bytes, length 16
    """

    kind: ClassVar[Kind] = Kind.CERTIFICATE
    network: bytes
    subject: bytes
    role: Role
    not_before: int
    expires: int
    serial: bytes

    def to_bytes(self) -> bytes:
        """Encode the certificate."""
        times = integer(self.not_before, 8) + integer(self.expires, 8)
        return self.network + self.subject + integer(self.role, 1) + times + self.serial

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a certificate, or raise `MalformedStatement`."""
        reader = Reader(data, what="certificate")
        certificate = cls(
            network=reader.take(ID_BYTES),
            subject=reader.take(KEY_BYTES),
            role=Role(reader.integer(1, least=Role.MEMBER, most=Role.ISSUER)),
            not_before=reader.integer(8, most=LATEST),
            expires=reader.integer(8, most=LATEST),
            serial=reader.take(SERIAL_BYTES),
        )
        reader.end()
        return certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """The permanent exclusion of a peer from a network.

    Parameters
    ----------
    network, subject : bytes, length 32
    at : int
        When it was decided, for people; seconds since 1970.
    """

    kind: ClassVar[Kind] = Kind.REVOCATION
    network: bytes
    subject: bytes
    at: int

    def to_bytes(self) -> bytes:
        """Encode the revocation."""
        return self.network + self.subject + integer(self.at, 8)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a revocation, or raise `MalformedStatement`."""
        reader = Reader(data, what="revocation")
        revocation = cls(
            network=reader.take(ID_BYTES),
            subject=reader.take(KEY_BYTES),
            at=reader.integer(8, most=LATEST),
        )
        reader.end()
        return revocation


@dataclass(frozen=True, slots=True, kw_only=True)
class Charter:
    """The settings that all members of a network share.

    Parameters
    ----------
    network : bytes, length 32
    number : int
        Counted from 1; the charter with the highest number is in force.
    fields : tuple of pairs of str
        At most 64 names and values (JSON), in ascending order of the names.
    """

    kind: ClassVar[Kind] = Kind.CHARTER
    network: bytes
    number: int
    fields: tuple[tuple[str, str], ...]

    def to_bytes(self) -> bytes:
        """Encode the charter."""
        pairs = b"".join(
            field(name.encode("ascii"), size=1) + field(value.encode("ascii"), size=2)
            for name, value in self.fields
        )
        return self.network + integer(self.number, 4) + integer(len(self.fields), 1) + pairs

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a charter, or raise `MalformedStatement`."""
        reader = Reader(data, what="charter")
        network, number = reader.take(ID_BYTES), reader.integer(4, least=1)
        fields = tuple(
            (
                reader.text(size=1, most=_MOST_NAME),
                reader.text(size=2, most=_MOST_VALUE),
            )
            for _ in range(reader.integer(1, most=MOST_FIELDS))
        )
        reader.end()
        if any(a[0] >= b[0] for a, b in pairwise(fields)):
            raise reader.wrong("its fields are not in order")
        return cls(network=network, number=number, fields=fields)


Body = Network | Certificate | Revocation | Rotation | Charter
