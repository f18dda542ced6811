"""Authenticated connections, and proofs that are valid in only one of them."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from gossipfl.membership.codec import integer
from gossipfl.settings.addresses import public_key_of

__all__ = ["Session", "proof_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One connection, immediately after both sides have proved their identities.

    Parameters
    ----------
    own, other : str
        Peer ids.
    is_initiator : bool
        Whether this side dialled.
    binding : bytes, length 32
        Hash of the handshake, which differs in every connection, even through a man in the middle.
    now : float
        Seconds since 1970.
    """

    own: str
    other: str
    is_initiator: bool
    binding: bytes
    now: float


def proof_of(secret: bytes, session: Session, *, label: bytes, by_initiator: bool) -> bytes:
    """Return a proof of knowing a secret, valid in one direction of one connection.

    It covers the hash of the handshake and both identities, so it proves nothing in another connection or when
    relayed by a man in the middle, and its receiver can do nothing with it but compare.
    """
    initiator, responder = (
        (session.own, session.other) if session.is_initiator else (session.other, session.own)
    )
    content = (
        label
        + integer(by_initiator, 1)
        + session.binding
        + public_key_of(initiator)
        + public_key_of(responder)
    )
    return hmac.digest(secret, content, "sha256")
