"""Revocations passed on under newer network keys, so that those who join after a rotation can verify them."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace

from gossipfl.membership.authority import Authority
from gossipfl.membership.codec import SERIAL_BYTES
from gossipfl.membership.signing import Signed
from gossipfl.membership.statements import Certificate, Role

__all__ = ["vouch_for_revocations", "vouch_for_those_of"]


def vouch_for_revocations(authority: Authority, sign: Callable[[Signed], Signed], *, now: float) -> None:
    """Sign all revocations anew with the current network keys.

    An issuer's revocation stays the issuer's, and so applies to those it has admitted and to no one else: the keys
    sign a certificate for the issuer that has long expired. It proves who may revoke, and admits no one.
    """
    vouchers: dict[bytes, Signed] = {}
    for each in authority.revocations:
        if each.issuer is None:
            authority.learn(sign(Signed(body=each.body)), now=now)
            continue
        issuer = each.signatures[0].key
        if issuer not in vouchers:
            vouchers[issuer] = sign(Signed(body=_voucher(authority.id, issuer)))
        authority.learn(replace(each, issuer=vouchers[issuer]), now=now)


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
