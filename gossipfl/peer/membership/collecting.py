"""Collection of signatures by network keys that different people hold, on statements that they pass around."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from gossipfl.errors import MembershipError
from gossipfl.membership import (
    Authority,
    Certificate,
    KeySet,
    Rotation,
    Signed,
    is_voucher,
    vouch_for_those_of,
)
from gossipfl.network import Identity
from gossipfl.peer.membership.issuing import validity_of
from gossipfl.peer.membership.ledger import keep_for
from gossipfl.peer.membership.lines import described, network_of
from gossipfl.peer.membership.store import MembershipStore
from gossipfl.settings.addresses import peer_id_of

__all__ = ["apply", "progress", "require_network", "sign", "sign_with_entitled"]


def sign(
    statements: Sequence[Signed], keys: Sequence[Identity], authority: Authority | None = None
) -> list[Signed]:
    """Add the signatures of network keys.

    Parameters
    ----------
    authority : Authority, optional
        What is known of the network; then only its keys sign.

    Raises
    ------
    MembershipError
        The keys are not the network's.
    """
    signed = sign_with_entitled(statements, keys, authority)
    own = {each.public_key for each in keys}
    if authority is not None and not any(own & {by.key for by in each.signatures} for each in signed):
        needed = {key for each in key_sets(statements, authority) if each for key in each.keys}
        raise MembershipError(
            f"these keys do not sign for network {authority.network.name!r}",
            expected=f"one of {', '.join(sorted(each.hex()[:16] for each in needed))}",
            got=", ".join(each.public_key.hex()[:16] for each in keys),
        )
    return signed


def sign_with_entitled(
    statements: Sequence[Signed], keys: Sequence[Identity], authority: Authority | None
) -> list[Signed]:
    """Add to each statement the signatures of those keys that may sign it, which may be none."""
    new = {key for each in statements if isinstance(each.body, Rotation) for key in each.body.keys.keys}
    signed = []
    for each, key_set in zip(statements, key_sets(statements, authority), strict=True):
        entitled = [
            key for key in keys if (key.public_key in key_set.keys if key_set else key.public_key not in new)
        ]
        signed.append(each if each.issuer else each.signed_by(entitled))
    return signed


def key_sets(statements: Sequence[Signed], authority: Authority | None) -> list[KeySet | None]:
    """Return the keys that sign each statement: after a rotation, its new ones; None if they are unknown."""
    current = None if authority is None else authority.keys
    found: list[KeySet | None] = []
    for each in statements:
        if isinstance(each.body, Rotation):
            before = each.body.number - 1
            is_known = authority is not None and before <= authority.epoch
            found.append(authority.keys_at(before) if authority is not None and is_known else current)
            current = each.body.keys
        else:
            found.append(current)
    return found


def require_network(statements: Iterable[Signed], authority: Authority) -> None:
    """Require that statements belong to a network, or raise `MembershipError`."""
    for theirs in {network_of(each) for each in statements} - {authority.id}:
        raise MembershipError(
            "the line belongs to another network",
            expected=f"network {authority.id.hex()[:16]}, {authority.network.name!r}",
            got=f"network {theirs.hex()[:16]}",
        )


def progress(statements: Sequence[Signed], authority: Authority | None) -> str:
    """Return a sentence about the signatures of statements, and those that they need."""
    if authority is None:
        count = min(len(each.signatures) for each in statements)
        return f"Signatures: {count}; with --home DIR of a member, those that count and are needed are shown."
    network = f"network {authority.network.name!r}, {authority.id.hex()[:16]}"
    if statements[0].issuer is not None:
        return f"An issuer of {network} has signed."
    fewest: dict[KeySet, int] = {}
    for each, key_set in zip(statements, key_sets(statements, authority), strict=True):
        if key_set is not None:
            fewest[key_set] = min(fewest.get(key_set, key_set.threshold), _count(each, key_set))
    if len(fewest) == 1:
        [(key_set, count)] = fewest.items()
        return f"{count} of {key_set.threshold} signatures that {network} needs."
    present, new = (f"{count} of {each.threshold}" for each, count in fewest.items())
    return f"{present} signatures by the present keys of {network}, {new} by the new ones."


def _count(statement: Signed, key_set: KeySet) -> int:
    """Return the number of signatures that count, at most as many as are needed."""
    own = [each for each in statement.signatures if each.key in key_set.keys]
    return min(len(own), key_set.threshold)


def apply(store: MembershipStore, identity: Identity, statements: Sequence[Signed]) -> list[Signed]:
    """Apply complete statements about the network, and this peer's own certificate.

    Certificates of other peers among several statements are kept for these, which get them from this peer once it
    runs; a single one has to be applied in the home of its peer.

    Returns
    -------
    list of Signed
        Those of other peers.

    Raises
    ------
    MembershipError
        Signatures are missing, or they belong to another network or peer; then nothing was changed.
    NotAMember
        One is not signed correctly; then nothing was changed.
    """
    authority, now = store.authority(), time.time()
    require_network(statements, authority)
    _require_complete(statements, authority)
    own: Signed | None = None
    others = []
    for each in statements:
        body = each.body
        if not isinstance(body, Certificate):
            _learn(authority, each, now=now)
            continue
        vouch_for_those_of(authority, each, now=now)
        if is_voucher(each):
            continue
        if body.subject == identity.public_key:
            own = each
        elif len(statements) == 1:
            raise MembershipError(
                "the certificate belongs to another peer",
                expected=identity.peer_id,
                got=peer_id_of(body.subject),
                remedy="Apply it in that peer's home.",
            )
        else:
            others.append(each)
        authority.member(each, subject=body.subject, now=now)
    store.merge(authority)
    if own is not None:
        store.write_certificate(own)
    for each in others:
        if isinstance(each.body, Certificate):
            keep_for(store, each, days=validity_of(each.body))
    return others


def _require_complete(statements: Sequence[Signed], authority: Authority) -> None:
    for each, key_set in zip(statements, key_sets(statements, authority), strict=True):
        if each.issuer is None and key_set is not None and _count(each, key_set) < key_set.threshold:
            raise MembershipError(
                f"signatures are missing, for this to take effect: it {described(each, authority)}",
                expected=f"signatures by {key_set.threshold} of {len(key_set.keys)} network keys",
                got=_count(each, key_set),
                remedy="Let others sign: `gossipfl network sign LINE --keys DIR`.",
            )


def _learn(authority: Authority, statement: Signed, *, now: float) -> None:
    """Learn a statement; a rotation has to be the next one, or one that is known."""
    body = statement.body
    if authority.learn(statement, now=now) or not isinstance(body, Rotation):
        return
    if body.number > authority.epoch or authority.rotations[body.number - 1].body != body:
        raise MembershipError(
            f"rotation {body.number} does not follow on what this peer knows of its network",
            expected=f"rotation {authority.epoch + 1}",
            got=f"rotation {body.number}"
            + ("" if body.number > authority.epoch else ", which there was already, to other keys"),
            remedy="Draft the rotation anew, in the home of a peer that has been running."
            if body.number <= authority.epoch
            else "Start this peer, so that it hears of the rotations before, and apply the line again.",
        )
