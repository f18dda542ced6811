"""Invitations: a line of text with which one peer may join a network, once."""

from __future__ import annotations

import hashlib
import hmac
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

from gossipfl.errors import (
    CertificateExpired,
    CertificateOfAnotherNetwork,
    InvalidInvitation,
    MalformedStatement,
    MembershipError,
)
from gossipfl.membership.authority import Authority
from gossipfl.membership.codec import KEY_BYTES, Reader, field, integer
from gossipfl.membership.network_keys import Network
from gossipfl.membership.sessions import Session, proof_of
from gossipfl.membership.signing import MOST_STATEMENT_BYTES, Signed
from gossipfl.membership.texts import decoded, encoded
from gossipfl.settings.addresses import parse_address, peer_id_of

__all__ = [
    "INVITATION_SECRET_BYTES",
    "MOST_GRANT_BYTES",
    "NUMBER_BYTES",
    "REQUEST_BYTES",
    "Grant",
    "Invitation",
    "is_proved",
    "number_in",
    "request",
    "require_fresh",
]

INVITATION_SECRET_BYTES: Final = 16
NUMBER_BYTES: Final = 8
_PROOF_BYTES: Final = 32
#: Number and proof.
REQUEST_BYTES: Final = NUMBER_BYTES + _PROOF_BYTES
#: Most bytes of a grant.
MOST_GRANT_BYTES: Final = 48 * 1024
_MOST_STATEMENTS: Final = 255
_MOST_ADDRESSES: Final = 8
_PREFIX: Final = "gossipfl1"
_CHECKSUM_BYTES: Final = 4
_LABEL: Final = b"gossipfl invitation 1\n"
_MOST_CHARACTERS: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """The contents of an invitation.

    Parameters
    ----------
    network : bytes, length 32
        Id of the network.
    issuer : bytes, length 32
        Public key of the peer that issued it.
    addresses : tuple of str
        1 to 8 addresses of that peer, without its id.
    number : bytes, length 8
    secret : bytes, length 16
    expires : int
        Seconds since 1970.
    """

    network: bytes
    issuer: bytes
    addresses: tuple[str, ...]
    number: bytes
    secret: bytes
    expires: int

    @property
    def peer_id(self) -> str:
        """Id of the peer that issued it."""
        return peer_id_of(self.issuer)

    def to_text(self) -> str:
        """Return the line: lower-case letters and digits, with a checksum."""
        content = b"".join(
            (
                self.network,
                self.issuer,
                self.number,
                self.secret,
                integer(self.expires, 8),
                integer(len(self.addresses), 1),
                *(field(each.encode("ascii"), size=1) for each in self.addresses),
            )
        )
        return _PREFIX + encoded(content + _checksum(content))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read a line, ignoring spaces, line breaks and capitalisation.

        Raises
        ------
        InvalidInvitation
            It is not an invitation, or part of it is missing or mistyped.
        """
        line = "".join(text[:_MOST_CHARACTERS].split()).strip("\"'`").lower()
        data = decoded(line.removeprefix(_PREFIX)) if line.startswith(_PREFIX) else None
        if data is None or _checksum(data[:-_CHECKSUM_BYTES]) != data[-_CHECKSUM_BYTES:]:
            raise InvalidInvitation(
                "this is not an invitation, or part of it is missing or mistyped",
                expected=f"the whole line that `gossipfl network invite` printed, {_PREFIX}…",
                got=f"{len(line)} characters",
            )
        reader = Reader(data[:-_CHECKSUM_BYTES], what="invitation")
        try:
            invitation = cls(
                network=reader.take(32),
                issuer=reader.take(KEY_BYTES),
                number=reader.take(NUMBER_BYTES),
                secret=reader.take(INVITATION_SECRET_BYTES),
                expires=reader.integer(8),
                addresses=tuple(
                    _address(reader) for _ in range(reader.integer(1, least=1, most=_MOST_ADDRESSES))
                ),
            )
            reader.end()
        except (MalformedStatement, ValueError) as error:
            raise InvalidInvitation("this is not a valid invitation", got=error) from error
        return invitation


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a peer receives when it joins.

    Parameters
    ----------
    statements : tuple of Signed
        Rotations and the charter.
    """

    network: Network
    certificate: Signed
    statements: tuple[Signed, ...]

    def to_bytes(self) -> bytes:
        """Encode the grant."""
        return (
            field(self.network.to_bytes(), size=2)
            + field(self.certificate.to_bytes(), size=2)
            + integer(len(self.statements), 1)
            + b"".join(field(each.to_bytes(), size=2) for each in self.statements)
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a grant, or raise `MalformedStatement`; nothing is verified."""
        reader = Reader(data, what="grant")
        grant = cls(
            network=Network.from_bytes(reader.field(size=2, most=MOST_STATEMENT_BYTES)),
            certificate=Signed.from_bytes(reader.field(size=2, most=MOST_STATEMENT_BYTES)),
            statements=tuple(
                Signed.from_bytes(reader.field(size=2, most=MOST_STATEMENT_BYTES))
                for _ in range(reader.integer(1, most=_MOST_STATEMENTS))
            ),
        )
        reader.end()
        return grant

    def authority(self, *, network: bytes, subject: bytes, now: float) -> Authority:
        """Verify the grant: the network is the expected one, and the certificate is valid.

        Raises
        ------
        CertificateOfAnotherNetwork
            It belongs to another network.
        NotAMember
            As in `Authority.member` and `Authority.learn`.
        """
        authority = Authority(self.network)
        if authority.id != network:
            raise CertificateOfAnotherNetwork("the peer granted a certificate of another network")
        for each in self.statements:
            with suppress(CertificateExpired):  # a charter by replaced keys: of no use, and no harm
                authority.learn(each, now=now)
        authority.member(self.certificate, subject=subject, now=now)
        return authority


def request(invitation: Invitation, session: Session) -> bytes:
    """Return a request to join: the invitation's number, and a proof of knowing its secret.

    The secret itself is not sent, and the proof is valid only in this connection between these two peers.
    """
    return invitation.number + _proof(invitation.secret, invitation.number, session)


def number_in(asked: bytes) -> bytes:
    """Return the number of a request's invitation.

    Raises
    ------
    MalformedStatement
        The bytes are not a request.
    """
    if len(asked) != REQUEST_BYTES:
        raise MalformedStatement("this is not a request to join", expected=f"{REQUEST_BYTES} bytes")
    return asked[:NUMBER_BYTES]


def is_proved(asked: bytes, secret: bytes, session: Session) -> bool:
    """Return whether a request proves knowledge of the secret."""
    return hmac.compare_digest(asked[NUMBER_BYTES:], _proof(secret, asked[:NUMBER_BYTES], session))


def require_fresh(invitation: Invitation, *, now: float) -> None:
    """Require that an invitation has not expired, before contacting anyone.

    Raises
    ------
    MembershipError
        It has expired.
    """
    if now >= invitation.expires:
        raise MembershipError(
            "the invitation has expired", remedy="Ask for a new one: `gossipfl network invite`."
        )


def _proof(secret: bytes, number: bytes, session: Session) -> bytes:
    return proof_of(secret, session, label=_LABEL + number, by_initiator=True)


def _checksum(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()[:_CHECKSUM_BYTES]


def _address(reader: Reader) -> str:
    return str(parse_address(reader.text(size=1, most=200), smallest_port=1))
