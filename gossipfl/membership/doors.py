"""Doors: how a peer decides who may come in, and what it shows of itself at the doors of others."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection
from typing import Final, Protocol

from gossipfl.errors import (
    CertificateMissing,
    InvitationUnknown,
    NotAllowed,
    SecretNotProved,
)
from gossipfl.membership.authority import Authority, Member
from gossipfl.membership.codec import Reader, field, integer
from gossipfl.membership.sessions import Session, proof_of
from gossipfl.membership.signing import MOST_STATEMENT_BYTES, Signed
from gossipfl.settings.addresses import public_key_of

__all__ = [
    "MOST_CREDENTIAL_BYTES",
    "SECRET_BYTES",
    "AllowingDoor",
    "CertificateDoor",
    "Door",
    "OpenDoor",
    "SecretDoor",
]

SECRET_BYTES: Final = 32
#: Bytes of the longest credential: a certificate with its issuer's, and the last rotations.
MOST_CREDENTIAL_BYTES: Final = 8 * 1024
_NOTHING, _SECRET, _CERTIFICATE = 0, 1, 2
_MOST_ROTATIONS: Final = 3
_SECRET_LABEL: Final = b"gossipfl secret 1\n"


class Door(Protocol):
    """What decides who may come in."""

    name: str

    def introduction(self, session: Session) -> bytes:
        """What this peer shows of itself; at most `MOST_CREDENTIAL_BYTES`."""

    def examine(self, session: Session, credential: bytes | None) -> Member | None:
        """Decide about the other side by what it shows: None if it does not even introduce itself.

        Raises
        ------
        NotAMember
            It may not come in.
        MalformedStatement
            What it shows is no credential.
        """

    def require_still(self, peer_id: str, member: Member | None, *, now: float) -> None:
        """Require that a peer that was let in may stay, or raise `NotAMember`."""

    def is_stranger(self, peer_id: str) -> bool:
        """Say whether a peer may not come in whatever it shows, and so need not be dialled."""

    def issue(self, session: Session, request: bytes) -> bytes:
        """Let a peer join by an invitation, and return what it is to have; durable once this returns.

        Raises
        ------
        NotAMember
            It has none, or this peer lets nobody join.
        """


class OpenDoor:
    """Whoever comes may come in."""

    name = "open"

    def introduction(self, session: Session) -> bytes:
        """Show nothing."""
        del session
        return integer(_NOTHING, 1)

    def examine(self, session: Session, credential: bytes | None) -> Member | None:
        """Let everybody in."""
        del session, credential
        return None

    def require_still(self, peer_id: str, member: Member | None, *, now: float) -> None:
        """Let everybody stay."""

    def is_stranger(self, peer_id: str) -> bool:
        """Nobody is."""
        del peer_id
        return False

    def issue(self, session: Session, request: bytes) -> bytes:
        """Let nobody join: there is nothing to join."""
        del session, request
        raise InvitationUnknown("this peer gives no certificates")


class AllowingDoor(OpenDoor):
    """Peers of a list may come in, through another door if there is one.

    Parameters
    ----------
    allowed : collection of str
        Peer ids.
    then : Door, optional
        What they have to pass as well.
    """

    def __init__(self, allowed: Collection[str], *, then: Door | None = None) -> None:
        self._allowed = frozenset(allowed)
        self._then = then or OpenDoor()
        self.name = "allow" if then is None else self._then.name

    def introduction(self, session: Session) -> bytes:
        """Show what the other door asks for."""
        return self._then.introduction(session)

    def examine(self, session: Session, credential: bytes | None) -> Member | None:
        """Let in who is on the list."""
        self.require_still(session.other, None, now=session.now)
        return self._then.examine(session, credential)

    def require_still(self, peer_id: str, member: Member | None, *, now: float) -> None:
        """Let stay who is on the list."""
        if peer_id not in self._allowed:
            raise NotAllowed("the peer is not among those that may connect", got=peer_id)
        if member is not None:
            self._then.require_still(peer_id, member, now=now)

    def is_stranger(self, peer_id: str) -> bool:
        """Say whether a peer is not on the list, or the other door knows it."""
        return peer_id not in self._allowed or self._then.is_stranger(peer_id)

    def issue(self, session: Session, request: bytes) -> bytes:
        """Let join who is on the list."""
        self.require_still(session.other, None, now=session.now)
        return self._then.issue(session, request)


class SecretDoor(OpenDoor):
    """Who proves to hold a secret of 32 random bytes may come in.

    Parameters
    ----------
    secret : bytes, length 32
    """

    name = "secret"

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def introduction(self, session: Session) -> bytes:
        """Prove to hold it."""
        return integer(_SECRET, 1) + self._proof(session, by_initiator=session.is_initiator)

    def examine(self, session: Session, credential: bytes | None) -> Member | None:
        """Compare the proof with what it must be, in the time that any other takes."""
        theirs = self._proof(session, by_initiator=not session.is_initiator)
        if not hmac.compare_digest(credential or b"", integer(_SECRET, 1) + theirs):
            raise SecretNotProved("the peer has not proved to hold the secret of this network")
        return None

    def _proof(self, session: Session, *, by_initiator: bool) -> bytes:
        return proof_of(self._secret, session, label=_SECRET_LABEL, by_initiator=by_initiator)


class CertificateDoor:
    """Who has a certificate of the network may come in.

    Parameters
    ----------
    authority : Authority
    certificate : callable
        Returns this peer's own.
    issue : callable, optional
        Takes the session and the request of a peer that wants to join; see `Door.issue`.
    on_learned : callable, optional
        Is handed each rotation that was learned at the door.
    """

    name = "certificates"

    def __init__(
        self,
        authority: Authority,
        *,
        certificate: Callable[[], Signed],
        issue: Callable[[Session, bytes], bytes] | None = None,
        on_learned: Callable[[Signed], None] = lambda _: None,
    ) -> None:
        self._authority = authority
        self._certificate = certificate
        self._issue = issue
        self._on_learned = on_learned

    def introduction(self, session: Session) -> bytes:
        """Show one's certificate, and the last changes of keys: whoever was away for long needs them."""
        del session
        rotations = self._authority.rotations[-_MOST_ROTATIONS:]
        return (
            integer(_CERTIFICATE, 1)
            + field(self._certificate().to_bytes(), size=2)
            + integer(len(rotations), 1)
            + b"".join(field(each.to_bytes(), size=2) for each in rotations)
        )

    def examine(self, session: Session, credential: bytes | None) -> Member | None:
        """Verify the certificate; as much as one signature that is wrong costs, and no more."""
        if not credential or credential[0] != _CERTIFICATE:
            raise CertificateMissing("the peer showed no certificate")
        reader = Reader(credential[1:], what="credential")
        certificate = Signed.from_bytes(reader.field(size=2, most=MOST_STATEMENT_BYTES))
        rotations = [
            Signed.from_bytes(reader.field(size=2, most=MOST_STATEMENT_BYTES))
            for _ in range(reader.integer(1, most=_MOST_ROTATIONS))
        ]
        reader.end()
        for each in rotations:
            if self._authority.learn(each, now=session.now):
                self._on_learned(each)
        subject = public_key_of(session.other)
        return self._authority.member(certificate, subject=subject, now=session.now)

    def require_still(self, peer_id: str, member: Member | None, *, now: float) -> None:
        """Let stay whose certificate still holds."""
        if member is None:
            raise CertificateMissing("the peer has no certificate", got=peer_id)
        self._authority.require_valid(member, now=now)

    def is_stranger(self, peer_id: str) -> bool:
        """Say whether a peer was put out."""
        return self._authority.is_out(public_key_of(peer_id))

    def issue(self, session: Session, request: bytes) -> bytes:
        """Let a peer join by an invitation."""
        if self._issue is None:
            raise InvitationUnknown("this peer gives no certificates")
        return self._issue(session, request)
