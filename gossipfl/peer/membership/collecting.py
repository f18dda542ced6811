"""Collection of signatures by network keys that different people hold, on a line of text passed around."""

from __future__ import annotations

import time
from typing import Final

from gossipfl.errors import GossipflError, MembershipError
from gossipfl.membership import (
    Authority,
    Certificate,
    Charter,
    Revocation,
    Role,
    Rotation,
    Signed,
    vouch_for_those_of,
)
from gossipfl.membership.texts import decoded, encoded
from gossipfl.moments import moment
from gossipfl.network import Identity
from gossipfl.peer.membership.store import MembershipStore
from gossipfl.settings.addresses import peer_id_of

__all__ = ["apply", "described", "from_text", "sign", "to_text"]

_PREFIX: Final = "gossipfl-statement-"


def to_text(statement: Signed) -> str:
    """Return a statement, complete or not, as one line."""
    return f"{_PREFIX}{encoded(statement.to_bytes())}"


def from_text(text: str) -> Signed:
    """Read a statement from its line.

    Raises
    ------
    MembershipError
        The line is not a statement.
    """
    line = "".join(text.split()).lower()
    data = decoded(line.removeprefix(_PREFIX)) if line.startswith(_PREFIX) else None
    try:
        statement = None if data is None else Signed.from_bytes(data)
    except GossipflError:
        statement = None
    if statement is None:
        raise MembershipError(
            "this is not a statement, or part of it is missing",
            expected=f"the whole line that a command of gossipfl network printed, {_PREFIX}…",
        )
    return statement


def sign(statement: Signed, keys: list[Identity]) -> Signed:
    """Add the signatures of network keys.

    Raises
    ------
    MembershipError
        There are no keys.
    """
    if not keys:
        raise MembershipError("there is no network key here", expected="files *.key made by `network create`")
    return statement.signed_by(keys)


def missing(statement: Signed, authority: Authority) -> int:
    """Return the number of missing signatures; those by other keys than the network's do not count."""
    own = [each for each in statement.signatures if each.key in authority.keys.keys]
    return max(0, authority.keys.threshold - len(own))


def apply(store: MembershipStore, identity: Identity, statement: Signed) -> None:
    """Apply a complete statement about the network, or this peer's own certificate.

    Raises
    ------
    MembershipError
        Signatures are missing, or the certificate belongs to another peer.
    NotAMember
        It is not signed correctly.
    """
    authority, now = store.authority(), time.time()
    lacking = 0 if statement.issuer is not None else missing(statement, authority)
    if lacking:
        raise MembershipError(
            "signatures are missing",
            expected=f"{authority.keys.threshold} by keys of this network",
            got=authority.keys.threshold - lacking,
            remedy="Let others sign: `gossipfl network sign LINE --keys DIR`.",
        )
    if isinstance(statement.body, Certificate):
        if statement.body.subject != identity.public_key:
            raise MembershipError(
                "the certificate belongs to another peer",
                expected=identity.peer_id,
                got=peer_id_of(statement.body.subject),
                remedy="Apply it in that peer's home.",
            )
        authority.member(statement, subject=identity.public_key, now=now)
        vouch_for_those_of(authority, statement, now=now)
        store.merge(authority)
        store.write_certificate(statement)
        return
    authority.learn(statement, now=now)
    store.merge(authority)


def described(statement: Signed) -> str:
    """Return an unambiguous description of a statement that is about to be signed."""
    body = statement.body
    if isinstance(body, Certificate):
        role = "an issuer, which may admit others" if body.role is Role.ISSUER else "a member"
        return f"makes {peer_id_of(body.subject)} {role}, until {moment(body.expires)}"
    if isinstance(body, Revocation):
        return f"revokes {peer_id_of(body.subject)} permanently"
    if isinstance(body, Rotation):
        keys = ", ".join(each.hex() for each in body.keys.keys)
        return f"rotation {body.number}: {body.keys.threshold} of these keys must sign from now on: {keys}"
    if isinstance(body, Charter):
        fields = "; ".join(f"{name} = {value}" for name, value in body.fields)
        return f"charter {body.number}: {fields}"
    return f"founds network {body.name}"
