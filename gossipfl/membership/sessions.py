"""Connections whose two ends have proved their identities, and proofs that hold in one of them alone."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from gossipfl.membership.codec import integer
from gossipfl.settings.addresses import public_key_of

__all__ = ["Session", "proof_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One connection, after both sides have proved their identities and before anything else.

    Parameters
    ----------
    own, other : str
        Peer ids.
    is_initiator : bool
        Whether this side dialled.
    binding : bytes, length 32
        Hash of the handshake: another in every connection, whoever stands between its ends.
    now : float
        Seconds since 1970.
    """

    own: str
    other: str
    is_initiator: bool
    binding: bytes
    now: float


def proof_of(secret: bytes, session: Session, *, label: bytes, by_initiator: bool) -> bytes:
    """Prove to hold a secret, in one connection and one direction only.

    It covers the hash of the handshake and both identities: in another connection, or passed on by whoever
    stands in the middle, it proves nothing; and it is no use to whoever receives it but to compare.
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
