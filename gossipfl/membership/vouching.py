"""Revocations passed on under newer network keys, so that those who join after a rotation can verify them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection
from dataclasses import replace

from gossipfl.membership.authority import Authority
from gossipfl.membership.codec import SERIAL_BYTES
from gossipfl.membership.signing import Signed
from gossipfl.membership.statements import Certificate, Role

__all__ = ["is_voucher", "revocations_anew", "vouch_for_revocations", "vouch_for_those_of"]


def vouch_for_revocations(authority: Authority, sign: Callable[[Signed], Signed], *, now: float) -> None:
    """Sign all revocations anew with the current network keys."""
    for each in [sign(statement) for statement in revocations_anew(authority)]:
        if is_voucher(each):
            vouch_for_those_of(authority, each, now=now)
        else:
            authority.learn(each, now=now)


def revocations_anew(authority: Authority, *, renewed: Collection[bytes] = ()) -> list[Signed]:
    """Return what new network keys have to sign so that all revocations can still be verified.

    An issuer's revocation stays the issuer's, and so applies only to peers that it has admitted: the new keys sign
    a voucher, a certificate for the issuer that has long expired. It proves who may revoke, and admits no one.

    Parameters
    ----------
    renewed : collection of bytes
        Issuers that get a new certificate, which vouches for their revocations.
    """
    revocations = authority.revocations
    issuers = {each.signatures[0].key for each in revocations if each.issuer is not None}
    return [
        *(Signed(body=each.body) for each in revocations if each.issuer is None),
        *(Signed(body=_voucher(authority.id, each)) for each in sorted(issuers.difference(renewed))),
    ]


def is_voucher(statement: Signed) -> bool:
    """Return whether a certificate only keeps the revocations by its subject verifiable."""
    return isinstance(statement.body, Certificate) and statement.body.expires == 0


def vouch_for_those_of(authority: Authority, certificate: Signed, *, now: float) -> list[Signed]:
    """Pass on an issuer's revocations with its new certificate; return those that changed."""
    body = certificate.body
    if not isinstance(body, Certificate) or body.role is not Role.ISSUER:
        return []
    own = [each for each in authority.revocations if each.issuer and each.signatures[0].key == body.subject]
    anew = [replace(each, issuer=certificate) for each in own]
    return [each for each in anew if authority.learn(each, now=now)]


def _voucher(network: bytes, issuer: bytes) -> Certificate:
    return Certificate(
        network=network,
        subject=issuer,
        role=Role.ISSUER,
        not_before=0,
        expires=0,
        serial=secrets.token_bytes(SERIAL_BYTES),
    )
