"""Doors: a peer's admission policies, and the credentials it presents to other peers."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Final, Protocol

from gossipfl.errors import (
    CertificateMissing,
    InvitationUnknown,
    NotAllowed,
    NotAMember,
    SecretNotProved,
)
from gossipfl.membership.authority import Authority, Member
from gossipfl.membership.codec import Reader, field, integer
from gossipfl.membership.network_keys import Rotation
from gossipfl.membership.sessions import Session, proof_of
from gossipfl.membership.signing import MOST_STATEMENT_BYTES, Signed
from gossipfl.membership.statements import Charter
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
#: Most bytes of a credential: a certificate with its issuer's, the latest rotations, and the charter.
MOST_CREDENTIAL_BYTES: Final = 8 * 1024
_NOTHING, _SECRET, _CERTIFICATE = 0, 1, 2
_MOST_STATEMENTS: Final = 16
_URGENT_ROTATIONS: Final = 3
_SECRET_LABEL: Final = b"gossipfl secret 1\n"


class Door(Protocol):
    """An admission policy."""

    name: str

    def introduction(self, session: Session) -> bytes:
        """Return the credential that this peer presents; at most `MOST_CREDENTIAL_BYTES`."""

    def examine(self, session: Session, credential: bytes | None) -> Member | None:
        """Decide about the other side by its credential; None if it presents none.

        Raises
        ------
        NotAMember
            It is not admitted.
        MalformedStatement
            The credential is invalid.
        """

    def require_still(self, peer_id: str, member: Member | None, *, now: float) -> None:
        """Require that an admitted peer may stay, or raise `NotAMember`."""

    def is_stranger(self, peer_id: str) -> bool:
        """Return whether a peer cannot be admitted whatever it presents, so that dialling it is pointless."""

    def issue(self, session: Session, request: bytes) -> bytes:
        """Let a peer join by an invitation, and return its grant, which is stored durably first.

        Raises
        ------
        NotAMember
            Its invitation is not valid, or this peer issues no certificates.
        """


class OpenDoor:
    """Admits everyone."""

    name = "open"

    def introduction(self, session: Session) -> bytes:
        """Return an empty credential."""
        del session
        return integer(_NOTHING, 1)

    def examine(self, session: Session, credential: bytes | None) -> Member | None:
        """Admit everyone."""
        del session, credential
        return None

    def require_still(self, peer_id: str, member: Member | None, *, now: float) -> None:
        """Let everyone stay."""

    def is_stranger(self, peer_id: str) -> bool:
        """Return False: everyone is admitted."""
        del peer_id
        return False

    def issue(self, session: Session, request: bytes) -> bytes:
        """Refuse: there is no network to join."""
        del session, request
        raise InvitationUnknown("this peer issues no certificates")


class AllowingDoor(OpenDoor):
    """Admits the peers on a list, provided that another door admits them too.

    Parameters
    ----------
    allowed : collection of str
        Peer ids.
    then : Door, optional
        The other door.
    """

    def __init__(self, allowed: Collection[str], *, then: Door | None = None) -> None:
        self._allowed = frozenset(allowed)
        self._then = then or OpenDoor()
        self.name = "allow" if then is None else self._then.name

    def allow_only(self, allowed: Collection[str]) -> None:
        """Replace the list."""
        self._allowed = frozenset(allowed)

    def introduction(self, session: Session) -> bytes:
        """Return the credential that the other door requires."""
        return self._then.introduction(session)

    def examine(self, session: Session, credential: bytes | None) -> Member | None:
        """Admit peers on the list."""
        self.require_still(session.other, None, now=session.now)
        return self._then.examine(session, credential)

    def require_still(self, peer_id: str, member: Member | None, *, now: float) -> None:
        """Let peers on the list stay."""
        if peer_id not in self._allowed:
            raise NotAllowed("the peer is not on the list of allowed peers", got=peer_id)
        if member is not None:
            self._then.require_still(peer_id, member, now=now)

    def is_stranger(self, peer_id: str) -> bool:
        """Return whether a peer is not on the list, or a stranger to the other door."""
        return peer_id not in self._allowed or self._then.is_stranger(peer_id)

    def issue(self, session: Session, request: bytes) -> bytes:
        """Let peers on the list join."""
        self.require_still(session.other, None, now=session.now)
        return self._then.issue(session, request)


class SecretDoor(OpenDoor):
    """Admits peers that prove knowledge of a secret of 32 random bytes.

    Parameters
    ----------
    secret : bytes, length 32
    """

    name = "secret"

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def introduction(self, session: Session) -> bytes:
        """Return a proof of knowing the secret."""
        return integer(_SECRET, 1) + self._proof(session, by_initiator=session.is_initiator)

    def examine(self, session: Session, credential: bytes | None) -> Member | None:
        """Compare the proof with the expected one, in constant time."""
        theirs = self._proof(session, by_initiator=not session.is_initiator)
        if not hmac.compare_digest(credential or b"", integer(_SECRET, 1) + theirs):
            raise SecretNotProved("the peer has not proved that it knows the secret of this network")
        return None

    def _proof(self, session: Session, *, by_initiator: bool) -> bytes:
        return proof_of(self._secret, session, label=_SECRET_LABEL, by_initiator=by_initiator)


class CertificateDoor:
    """Admits peers with a certificate of the network.

    Parameters
    ----------
    certificate : callable
        Returns this peer's own certificate.
    issue : callable, optional
        Called with the session and the request of a peer that wants to join; see `Door.issue`.
    on_learned : callable, optional
        Called with each rotation or charter learned at the door.
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
        """Return the certificate, and what peers need that were away: the latest rotations and the charter."""
        del session
        said = integer(_CERTIFICATE, 1) + field(self._certificate().to_bytes(), size=2)
        newest = [*reversed(self._authority.rotations)]
        # A charter too long for the door reaches those that are admitted as news.
        by_urgency = [
            *newest[:_URGENT_ROTATIONS],
            *self._authority.charter_statements,
            *newest[_URGENT_ROTATIONS:],
        ]
        fields: list[bytes] = []
        room = MOST_CREDENTIAL_BYTES - len(said) - 1
        for each in by_urgency[:_MOST_STATEMENTS]:
            told = field(each.to_bytes(), size=2)
            if len(told) <= room:
                fields.append(told)
                room -= len(told)
            elif isinstance(each.body, Rotation):
                break  # those before it are of no use without it
        return said + integer(len(fields), 1) + b"".join(reversed(fields))

    def examine(self, session: Session, credential: bytes | None) -> Member | None:
        """Verify the certificate, at the cost of one invalid signature at most."""
        if not credential or credential[0] != _CERTIFICATE:
            raise CertificateMissing("the peer presented no certificate")
        reader = Reader(credential[1:], what="credential")
        certificate = Signed.from_bytes(reader.field(size=2, most=MOST_STATEMENT_BYTES))
        statements = [
            Signed.from_bytes(reader.field(size=2, most=MOST_STATEMENT_BYTES))
            for _ in range(reader.integer(1, most=_MOST_STATEMENTS))
        ]
        reader.end()
        charters = [each for each in statements if isinstance(each.body, Charter)]
        for each in statements:
            if each not in charters:
                self._learn(each, session)
        member = self._authority.member(certificate, subject=public_key_of(session.other), now=session.now)
        with suppress(
            NotAMember
        ):  # signed by keys that have been replaced since; the member is one all the same
            for each in charters[:1]:
                self._learn(each, session)
        return member

    def _learn(self, statement: Signed, session: Session) -> None:
        if self._authority.learn(statement, now=session.now):
            self._on_learned(statement)

    def require_still(self, peer_id: str, member: Member | None, *, now: float) -> None:
        """Let peers stay whose certificates are still valid."""
        if member is None:
            raise CertificateMissing("the peer has no certificate", got=peer_id)
        self._authority.require_valid(member, now=now)

    def is_stranger(self, peer_id: str) -> bool:
        """Return whether a peer was revoked."""
        return self._authority.is_revoked(public_key_of(peer_id))

    def issue(self, session: Session, request: bytes) -> bytes:
        """Let a peer join by an invitation."""
        if self._issue is None:
            raise InvitationUnknown("this peer issues no certificates")
        return self._issue(session, request)
