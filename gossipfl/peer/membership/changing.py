"""Operators' changes to a network from a peer's home: admission, revocation, secret and charter."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass

from gossipfl.errors import MembershipError
from gossipfl.membership import SECRET_BYTES, Authority, Charter, Revocation, Role, Signed
from gossipfl.membership.statements import Body
from gossipfl.network import Identity
from gossipfl.peer.membership.collecting import sign_with_entitled
from gossipfl.peer.membership.durations import days_of
from gossipfl.peer.membership.issuing import body_of, certify, signers_at_hand
from gossipfl.peer.membership.ledger import admitted_by_hand, ledger
from gossipfl.peer.membership.store import MembershipStore
from gossipfl.settings.addresses import public_key_of

__all__ = [
    "Revoked",
    "admit",
    "charter_body",
    "new_secret",
    "revoke",
    "write_charter",
]


@dataclass(frozen=True, slots=True)
class Revoked:
    """A revocation, and whether it is new here.

    Parameters
    ----------
    changed : bool
        False for a peer that was revoked before.
    """

    statement: Signed
    changed: bool


def revoke(
    store: MembershipStore, identity: Identity, peer_id: str, *, draft: bool = False, unlisted: bool = False
) -> Revoked:
    """Revoke a member permanently; running peers learn of it at once.

    Parameters
    ----------
    identity : Identity
        The peer's own.
    draft : bool
        Whether only to return a statement for others to sign, without changing anything.
    unlisted : bool
        Whether an issuer revokes even a peer of which it has no record that it has admitted it.

    Raises
    ------
    MembershipError
        This peer cannot sign it, or would revoke itself, or it would have no effect.
    """
    authority, subject = store.authority(), public_key_of(peer_id)
    if subject == identity.public_key:
        raise MembershipError("a peer cannot revoke itself", remedy="Let another issuer do it.")
    now = time.time()
    body = Revocation(network=authority.id, subject=subject, at=int(now))
    if draft:
        return Revoked(_draft(store, body), changed=False)
    signers = signers_at_hand(store, authority, identity)
    if signers.issuer is not None and not (authority.is_revoked(subject) or unlisted):
        _require_admitted_here(store, peer_id)
    statement = signers.sign(Signed(body=body))
    is_settled = signers.issuer is not None and authority.is_revoked(subject)
    changed = not is_settled and authority.learn(statement, now=now)
    if changed:
        store.merge(authority)
    return Revoked(statement, changed)


def _require_admitted_here(store: MembershipStore, peer_id: str) -> None:
    """Require that a revocation by this issuer has an effect: others apply it to certificates by this issuer."""
    signed_by = [each["signed_by"] for each in ledger(store) if each["peer"] == peer_id]
    if signed_by and "network keys" not in signed_by:
        return
    raise MembershipError(
        "this revocation would have no effect: "
        + (
            "network keys have signed this peer's certificate, so only they can revoke it"
            if signed_by
            else "this issuer has no record that it admitted this peer"
        ),
        got=peer_id,
        remedy="Check the peer id: `gossipfl network members`, `gossipfl peer peers`. Revoke the peer in the home "
        "of the issuer that admitted it, or with network keys (`gossipfl network revoke PEER --draft`). If this "
        "issuer did admit it, and the record was lost: --unlisted.",
    )


def admit(
    store: MembershipStore, identity: Identity, peer_id: str, *, role: Role, days: float, draft: bool = False
) -> Signed:
    """Issue a certificate to a peer id, without an invitation; the peer applies it itself.

    Raises
    ------
    MembershipError
        This peer cannot sign it.
    """
    authority, now, subject = store.authority(), time.time(), public_key_of(peer_id)
    if draft:
        return _draft(store, body_of(authority, subject, role=role, days=days_of(days), now=now))
    signers = signers_at_hand(store, authority, identity, role=role)
    statement = certify(authority, subject, signers=signers, role=role, days=days_of(days), now=now)
    admitted_by_hand(store, statement, days=days)
    return statement


def write_charter(
    store: MembershipStore, identity: Identity, charter: Mapping[str, str], *, draft: bool = False
) -> Signed:
    """Replace the network's charter.

    Raises
    ------
    MembershipError
        There are too few network keys here.
    """
    authority, now = store.authority(), time.time()
    unsigned = charter_body(authority, charter)
    if draft:
        return _draft(store, unsigned.body)
    statement = signers_at_hand(store, authority, identity, role=Role.ISSUER).sign(unsigned)
    return _conclude(store, authority, statement, now=now)


def _draft(store: MembershipStore, body: Body) -> Signed:
    """Return a statement signed by whichever network keys are here."""
    [draft] = sign_with_entitled([Signed(body=body)], store.network_keys(), store.authority())
    return draft


def _conclude(store: MembershipStore, authority: Authority, statement: Signed, *, now: float) -> Signed:
    authority.learn(statement, now=now)
    store.merge(authority)
    return statement


def charter_body(authority: Authority, fields: Mapping[str, str]) -> Signed:
    """Return the network's next charter, unsigned, as others will decode it."""
    number = 1 if authority.charter is None else authority.charter.number + 1
    body = Charter(network=authority.id, number=number, fields=tuple(sorted(fields.items())))
    return Signed.from_bytes(Signed(body=body).to_bytes())


def new_secret(store: MembershipStore) -> str:
    """Generate and store a secret for all peers of a network; return its line of text.

    Raises
    ------
    MembershipError
        There is one already.
    """
    if store.has_secret():
        raise MembershipError(
            "this peer already has a secret",
            got=store.secret_file,
            remedy="Delete the file to generate a new one.",
        )
    return store.write_secret(secrets.token_bytes(SECRET_BYTES))
