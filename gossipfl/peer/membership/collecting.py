"""Collection of signatures by network keys that different people hold, on a line of text passed around."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from gossipfl.errors import GossipflError, MembershipError
from gossipfl.membership import (
    Authority,
    Certificate,
    Charter,
    Network,
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

__all__ = ["apply", "described", "from_text", "progress", "require_network", "sign", "to_text"]

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


def sign(statement: Signed, keys: list[Identity], authority: Authority | None = None) -> Signed:
    """Add the signatures of network keys.

    Parameters
    ----------
    authority : Authority, optional
        What is known of the network; then only its keys sign.

    Raises
    ------
    MembershipError
        There are no keys, or they are not the network's.
    """
    if not keys:
        raise MembershipError("there is no network key here", expected="files *.key made by `network create`")
    own = [each for each in keys if authority is None or each.public_key in authority.keys.keys]
    if authority is not None and not own:
        raise MembershipError(
            f"these keys do not sign for network {authority.network.name!r}",
            expected=f"one of {', '.join(each.hex()[:16] for each in authority.keys.keys)}",
            got=", ".join(each.public_key.hex()[:16] for each in keys),
        )
    return statement.signed_by(own)


def require_network(statement: Signed, authority: Authority) -> None:
    """Require that a statement belongs to a network, or raise `MembershipError`."""
    theirs = _network_of(statement)
    if theirs != authority.id:
        raise MembershipError(
            "the line belongs to another network",
            expected=f"network {authority.id.hex()[:16]}, {authority.network.name!r}",
            got=f"network {theirs.hex()[:16]}",
        )


def progress(statement: Signed, authority: Authority | None) -> str:
    """Return a sentence about the signatures of a statement, and those that it needs."""
    count = len(statement.signatures)
    if authority is None:
        return f"Signatures: {count}; with --home DIR of a member, those that count and are needed are shown."
    network = f"network {authority.network.name!r}, {authority.id.hex()[:16]}"
    if statement.issuer is not None:
        return f"An issuer of {network} has signed."
    needed = authority.keys.threshold
    return f"{needed - missing(statement, authority)} of {needed} signatures that {network} needs."


def missing(statement: Signed, authority: Authority) -> int:
    """Return the number of missing signatures; those by other keys than the network's do not count."""
    own = [each for each in statement.signatures if each.key in authority.keys.keys]
    return max(0, authority.keys.threshold - len(own))


def apply(store: MembershipStore, identity: Identity, statement: Signed) -> None:
    """Apply a complete statement about the network, or this peer's own certificate.

    Raises
    ------
    MembershipError
        Signatures are missing, or it belongs to another network or peer.
    NotAMember
        It is not signed correctly.
    """
    authority, now = store.authority(), time.time()
    require_network(statement, authority)
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


def described(statement: Signed, authority: Authority | None = None) -> str:
    """Return an unambiguous description of a statement that is about to be signed, as a verb and its objects.

    Parameters
    ----------
    authority : Authority, optional
        What is known of its network; of a charter, the changes are then shown.
    """
    if authority is None:
        return f"{_action(statement, {})}, in network {_network_of(statement).hex()[:16]}"
    before = {} if authority.charter is None else dict(authority.charter.fields)
    return f"{_action(statement, before)}, in network {authority.network.name!r}"


def _network_of(statement: Signed) -> bytes:
    return statement.body.id if isinstance(statement.body, Network) else statement.body.network


def _action(statement: Signed, before: Mapping[str, str]) -> str:
    body = statement.body
    if isinstance(body, Certificate):
        role = "an issuer, which may admit others" if body.role is Role.ISSUER else "a member"
        return f"makes {peer_id_of(body.subject)} {role}, until {moment(body.expires)}"
    if isinstance(body, Revocation):
        return f"revokes {peer_id_of(body.subject)} permanently"
    if isinstance(body, Rotation):
        keys = ", ".join(each.hex() for each in body.keys.keys)
        return (
            f"makes rotation {body.number}: {body.keys.threshold} of these keys must sign from now on: {keys}"
        )
    if isinstance(body, Charter):
        if not before:
            fields = "; ".join(f"{name} = {value}" for name, value in body.fields)
            return f"makes charter {body.number}: {fields}"
        return f"makes charter {body.number}, with {_changes(before, dict(body.fields)) or 'no changes'}"
    return f"creates network {body.name}"


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    return "; ".join(
        f"{name} = {after.get(name, 'not set')} (now {before.get(name, 'not set')})"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    )
