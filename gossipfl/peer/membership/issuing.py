"""Issuing of invitations, of the certificate that one peer gets for each, and of renewals."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from gossipfl.errors import (
    GossipflError,
    HomeError,
    InvitationExpired,
    InvitationUnknown,
    InvitationUsed,
    MembershipError,
    NotAMember,
)
from gossipfl.membership import (
    Authority,
    Certificate,
    Grant,
    Invitation,
    Member,
    Role,
    Session,
    Signed,
    Signer,
    is_proved,
    number_in,
)
from gossipfl.membership.codec import SERIAL_BYTES
from gossipfl.membership.invitations import INVITATION_SECRET_BYTES, NUMBER_BYTES
from gossipfl.network import Identity, limited_logger
from gossipfl.peer.membership.durations import days_of, hours_of
from gossipfl.peer.membership.ledger import Entry, certificates_of, note_renewal, read_entry, write_entry
from gossipfl.peer.membership.store import MembershipStore
from gossipfl.recent import RecentMap
from gossipfl.settings.addresses import peer_id_of, public_key_of

_log = limited_logger(__name__)

__all__ = [
    "DAY",
    "Issuer",
    "body_of",
    "certify",
    "invite",
    "is_due",
    "role_named",
    "signers_at_hand",
    "validity_of",
]

DAY: Final = 86_400
# Clocks differ, so certificates are valid from a little before they were issued.
_SLACK: Final = 3_600
_MOST_RENEWED: Final = 1024


def role_named(name: str) -> Role:
    """Return the role with a name, or raise `MembershipError`."""
    try:
        return Role[name.upper()]
    except KeyError:
        raise MembershipError("there is no such role", expected="member or issuer", got=repr(name)) from None


@dataclass(eq=False)
class Issuer:
    """Issues certificates on behalf of a network.

    Parameters
    ----------
    identity : Identity
        The peer's own.
    """

    store: MembershipStore
    authority: Authority
    identity: Identity

    def __post_init__(self) -> None:
        self._renewed: RecentMap[tuple[bytes, int], Signed] = RecentMap(_MOST_RENEWED)
        self._not_renewed: RecentMap[tuple[bytes, int], None] = RecentMap(_MOST_RENEWED)

    def issue(self, session: Session, request: bytes) -> bytes:
        """Issue a certificate to a peer that proves knowledge of an invitation's secret, and return its grant.

        The certificate is on disk before this returns. There is no checkpoint meanwhile, so of two peers with the
        same invitation only one gets it.

        Raises
        ------
        NotAMember
            It is refused: `InvitationUnknown`, `InvitationExpired`, `InvitationUsed`, or this peer cannot sign.
        """
        try:
            return self._issue(session, request)
        except (HomeError, MembershipError) as error:
            _log.warning("peer %s may join, but no certificate could be issued: %s", session.other, error)
            raise NotAMember("this peer cannot issue certificates") from error

    def _issue(self, session: Session, request: bytes) -> bytes:
        entry = read_entry(self.store, number_in(request))
        if entry is None or not is_proved(request, bytes.fromhex(entry.secret), session):
            raise InvitationUnknown("this peer issued no invitation with this number and secret")
        if entry.used_by is not None and entry.used_by != session.other:
            raise InvitationUsed("another peer has used this invitation", got=session.other)
        if entry.certificate is not None:
            return self._grant(Signed.from_bytes(bytes.fromhex(entry.certificate)))
        if session.now >= entry.expires:
            raise InvitationExpired("the invitation was not used in time", got=session.other)
        subject = public_key_of(session.other)
        certificate = certify(
            self.authority,
            subject,
            signers=signers_at_hand(self.store, self.authority, self.identity, role=role_named(entry.role)),
            role=role_named(entry.role),
            days=entry.days,
            now=session.now,
        )
        used = replace(entry, used_by=session.other, certificate=certificate.to_bytes().hex())
        write_entry(self.store, used)
        return self._grant(certificate)

    def renewed(self, member: Member, *, now: float) -> list[Signed]:
        """Return a new certificate that is valid for as long, for a member whose own is due; else none.

        There is one for each that is due, however often it is requested.
        """
        if not is_due(self.authority, member, now=now):
            return []
        certificate = member.certificate
        due = (certificate.serial, self.authority.epoch)
        if due not in self._renewed:
            name = peer_id_of(certificate.subject)
            try:
                self._renewed[due] = certify(
                    self.authority,
                    certificate.subject,
                    signers=signers_at_hand(self.store, self.authority, self.identity, role=certificate.role),
                    role=certificate.role,
                    days=validity_of(certificate),
                    now=now,
                )
            except GossipflError as error:
                kept = self._kept_for(member, now=now)
                if kept is not None:
                    return [kept]
                if due not in self._not_renewed:  # the member asks every few seconds
                    self._not_renewed[due] = None
                    _log.warning("the certificate of %s was not renewed: %s", name, error)
                return []
            _log.info("renewed the certificate of %s", name)
            try:
                note_renewal(self.store, name, self._renewed[due])
            except GossipflError as error:
                _log.warning("the ledger still has the old certificate of %s: %s", name, error)
        return [self._renewed[due]]

    def _kept_for(self, member: Member, *, now: float) -> Signed | None:
        """Return a member's new certificate that network keys have signed, and that was applied here; or None."""
        subject = member.certificate.subject
        with suppress(GossipflError):
            for each in certificates_of(self.store, peer_id_of(subject)):
                with suppress(NotAMember):
                    if self.authority.member(each, subject=subject, now=now).supersedes(member):
                        return each
        return None

    def _grant(self, certificate: Signed) -> bytes:
        lasting = [*self.authority.rotations, *self.authority.charter_statements]
        return Grant(
            network=self.authority.network, certificate=certificate, statements=tuple(lasting)
        ).to_bytes()


@dataclass(frozen=True, slots=True)
class Signers:
    """The keys that sign a statement: network keys, or an issuer's with its certificate."""

    keys: Sequence[Signer]
    issuer: Signed | None = None

    def sign(self, statement: Signed) -> Signed:
        """Sign a statement."""
        return replace(statement, issuer=self.issuer).signed_by(self.keys)


def signers_at_hand(
    store: MembershipStore, authority: Authority, identity: Identity, *, role: Role = Role.MEMBER
) -> Signers:
    """Return the signers available here: enough network keys, or else the peer itself if it is an issuer.

    Raises
    ------
    MembershipError
        There are none.
    """
    keys = [each for each in store.network_keys() if each.public_key in authority.keys.keys]
    if len(keys) >= authority.keys.threshold:
        return Signers(keys[: authority.keys.threshold])
    own = store.certificate() if store.has_certificate() else None
    is_issuer = (
        own is not None
        and own.issuer is None
        and isinstance(own.body, Certificate)
        and own.body.subject == identity.public_key
        and own.body.role is Role.ISSUER
    )
    if is_issuer and role is Role.MEMBER:
        return Signers([identity], own)
    needed = authority.keys
    enough = f"{needed.threshold} of its {len(needed.keys)} network keys in {store.keys_directory}"
    if role is Role.ISSUER:
        raise MembershipError(
            "network keys must sign this, not an issuer" if is_issuer else "network keys must sign this",
            expected=enough,
            got=f"{len(keys)} of these keys",
            remedy="Collect signatures from those who hold the keys: make a draft (`gossipfl network charter | "
            "rotate | admit PEER --role issuer`, with --draft), which `gossipfl network sign` signs.",
        )
    raise MembershipError(
        "this peer cannot sign on behalf of the network",
        expected=f"an issuer's certificate, or {enough}",
        got=f"{len(keys)} of these keys",
        remedy="Do it in the home of a peer that is an issuer (`gossipfl network show`), or collect "
        "signatures with `gossipfl network sign`.",
    )


def is_due(authority: Authority, member: Member, *, now: float) -> bool:
    """Return whether a certificate is in the last third of its validity, or signed by replaced keys."""
    certificate = member.certificate
    left = authority.expires(member) - now
    return member.epoch < authority.epoch or left < validity_of(certificate) * DAY / 3


def validity_of(certificate: Certificate) -> float:
    """Return the number of days for which a certificate was issued."""
    return (certificate.expires - certificate.not_before - _SLACK) / DAY


def certify(
    authority: Authority, subject: bytes, *, signers: Signers, role: Role, days: float, now: float
) -> Signed:
    """Issue a certificate, and verify it as others will.

    Raises
    ------
    NotAMember
        Others would not accept it: the peer was revoked, or the signers are not entitled.
    """
    body = body_of(authority, subject, role=role, days=days, now=now)
    statement = signers.sign(Signed(body=body))
    authority.member(statement, subject=subject, now=now)
    return statement


def body_of(authority: Authority, subject: bytes, *, role: Role, days: float, now: float) -> Certificate:
    """Return an unsigned certificate."""
    return Certificate(
        network=authority.id,
        subject=subject,
        role=role,
        not_before=int(now) - _SLACK,
        expires=int(now + days * DAY),
        serial=secrets.token_bytes(SERIAL_BYTES),
    )


def invite(
    store: MembershipStore,
    authority: Authority,
    identity: Identity,
    *,
    addresses: Sequence[str],
    role: Role,
    hours: float,
    days: float,
) -> Invitation:
    """Issue an invitation, by which one peer may join while this peer is running.

    Raises
    ------
    MembershipError
        This peer cannot sign the promised certificate, or a duration is out of range.
    """
    signers_at_hand(store, authority, identity, role=role)
    hours, days, now = hours_of(hours), days_of(days), time.time()
    invitation = Invitation(
        network=authority.id,
        issuer=identity.public_key,
        addresses=tuple(addresses),
        number=secrets.token_bytes(NUMBER_BYTES),
        secret=secrets.token_bytes(INVITATION_SECRET_BYTES),
        expires=int(now + hours * 3600),
    )
    write_entry(
        store,
        Entry(
            number=invitation.number.hex(),
            secret=invitation.secret.hex(),
            role=role.name.lower(),
            expires=invitation.expires,
            days=days,
        ),
    )
    return invitation
