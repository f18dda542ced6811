"""Issuing: an invitation is made, and one peer, once, gets a certificate for it."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from gossipfl.errors import (
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
    Role,
    Session,
    Signed,
    Signer,
    is_proved,
    number_in,
)
from gossipfl.membership.codec import SERIAL_BYTES
from gossipfl.membership.invitations import INVITATION_SECRET_BYTES, NUMBER_BYTES
from gossipfl.network import Identity
from gossipfl.peer.membership.ledger import Entry, read_entry, write_entry
from gossipfl.peer.membership.store import MembershipStore
from gossipfl.settings.addresses import public_key_of

logger = logging.getLogger(__name__)

__all__ = ["DAY", "Issuer", "body_of", "certify", "invite", "role_named", "signers_at_hand"]

DAY: Final = 86_400
# Clocks differ: a certificate begins a little before it was made.
_SLACK: Final = 3_600


def role_named(name: str) -> Role:
    """Return the role of a name, or raise `MembershipError`."""
    try:
        return Role[name.upper()]
    except KeyError:
        raise MembershipError("there is no such role", expected="member or issuer", got=repr(name)) from None


class Issuer:
    """Lets peers join in the name of a network.

    Parameters
    ----------
    store : MembershipStore
    authority : Authority
    identity : Identity
        The peer's own.
    """

    def __init__(self, store: MembershipStore, authority: Authority, identity: Identity) -> None:
        self._store = store
        self._authority = authority
        self._identity = identity

    def issue(self, session: Session, request: bytes) -> bytes:
        """Give the peer at the other end a certificate, if it proves to know the secret of an invitation.

        What it is given is on the disk before this returns. Nothing else happens meanwhile, so of two peers that
        come with one invitation, one gets it.

        Raises
        ------
        NotAMember
            It gets none: `InvitationUnknown`, `InvitationExpired`, `InvitationUsed`, or this peer cannot sign.
        """
        try:
            return self._issue(session, request)
        except (HomeError, MembershipError) as error:
            logger.warning("peer %s may join, and cannot be given a certificate: %s", session.other, error)
            raise NotAMember("no certificate can be given here") from error

    def _issue(self, session: Session, request: bytes) -> bytes:
        entry = read_entry(self._store, number_in(request))
        if entry is None or not is_proved(request, bytes.fromhex(entry.secret), session):
            raise InvitationUnknown("no invitation with this number and this secret was made here")
        if entry.used_by is not None and entry.used_by != session.other:
            raise InvitationUsed("another peer has joined with this invitation", got=session.other)
        if entry.certificate is not None:
            return self._grant(Signed.from_bytes(bytes.fromhex(entry.certificate)))
        if session.now >= entry.expires:
            raise InvitationExpired("the invitation was not used in time", got=session.other)
        subject = public_key_of(session.other)
        certificate = certify(
            self._authority,
            subject,
            signers=signers_at_hand(
                self._store, self._authority, self._identity, role=role_named(entry.role)
            ),
            role=role_named(entry.role),
            days=entry.days,
            now=session.now,
        )
        used = replace(entry, used_by=session.other, certificate=certificate.to_bytes().hex())
        write_entry(self._store, used)
        return self._grant(certificate)

    def _grant(self, certificate: Signed) -> bytes:
        lasting = [*self._authority.rotations, *self._authority.charter_statements]
        return Grant(
            network=self._authority.network, certificate=certificate, statements=tuple(lasting)
        ).to_bytes()


@dataclass(frozen=True, slots=True)
class Signers:
    """Who signs a statement: network keys, or an issuer with its certificate."""

    keys: Sequence[Signer]
    issuer: Signed | None = None

    def sign(self, statement: Signed) -> Signed:
        """Sign."""
        return replace(statement, issuer=self.issuer).signed_by(self.keys)


def signers_at_hand(
    store: MembershipStore, authority: Authority, identity: Identity, *, role: Role = Role.MEMBER
) -> Signers:
    """Find who can sign here: enough network keys, or else the peer itself if it is an issuer.

    Raises
    ------
    MembershipError
        Nobody can.
    """
    keys = [each for each in store.network_keys() if each.public_key in authority.keys.keys]
    if len(keys) >= authority.keys.threshold:
        return Signers(keys[: authority.keys.threshold])
    own = store.certificate() if store.has_certificate() else None
    if role is Role.MEMBER and own is not None and isinstance(own.body, Certificate):
        is_own = own.body.subject == identity.public_key and own.body.role is Role.ISSUER
        if is_own and own.issuer is None:
            return Signers([identity], own)
    needed = authority.keys
    raise MembershipError(
        "this peer cannot sign in the name of the network",
        expected=f"an issuer's certificate, or {needed.threshold} of its {len(needed.keys)} network keys in "
        f"{store.keys_directory}",
        got=f"{len(keys)} of these keys",
        remedy="Do it in the home of a peer that is an issuer (`gossipfl network show`), or collect "
        "signatures with `gossipfl network sign`.",
    )


def certify(
    authority: Authority, subject: bytes, *, signers: Signers, role: Role, days: float, now: float
) -> Signed:
    """Make a certificate, and check it as others will.

    Raises
    ------
    NotAMember
        Nobody would accept it: the peer was put out, or the signers cannot sign.
    """
    body = body_of(authority, subject, role=role, days=days, now=now)
    statement = signers.sign(Signed(body=body))
    authority.member(statement, subject=subject, now=now)
    return statement


def body_of(authority: Authority, subject: bytes, *, role: Role, days: float, now: float) -> Certificate:
    """A certificate before anybody has signed it."""
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
    """Make an invitation that this peer, once it runs, lets one peer join by.

    Raises
    ------
    MembershipError
        This peer cannot sign what the invitation promises.
    """
    signers_at_hand(store, authority, identity, role=role)
    now = time.time()
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
