"""Drafts of rotations to keys that different people hold, with all that the new keys have to sign."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence

from gossipfl.errors import MalformedStatement, MembershipError
from gossipfl.membership import Authority, Certificate, KeySet, Role, Rotation, Signed, revocations_anew
from gossipfl.membership.codec import KEY_BYTES
from gossipfl.membership.network_keys import majority_of
from gossipfl.peer.membership.changing import charter_body
from gossipfl.peer.membership.collecting import sign_with_entitled
from gossipfl.peer.membership.durations import days_of
from gossipfl.peer.membership.issuing import DAY, body_of, validity_of
from gossipfl.peer.membership.ledger import certificates_of_issuers
from gossipfl.peer.membership.store import MembershipStore
from gossipfl.settings.addresses import public_key_of

__all__ = ["draft_rotation", "rotation_to", "threshold_after"]

_DAYS_OF_OTHER_ISSUERS = 365.0


def draft_rotation(
    store: MembershipStore,
    keys: Sequence[str],
    *,
    threshold: int | None = None,
    grace_days: float,
    issuers: Collection[str] = (),
) -> list[Signed]:
    """Return a rotation to keys that others have made and hold, and what these keys sign anew.

    The present keys sign the rotation, the new ones the rest: the charter, all revocations, and certificates of
    issuers, each valid for as long as its last one. Those keys that are here have signed what is returned.

    Parameters
    ----------
    keys : sequence of str
        Public keys in hexadecimal.
    threshold : int, optional
        How many of them must sign; see `threshold_after`.
    issuers : collection of str
        Peer ids of issuers besides this peer and those that it has admitted.

    Raises
    ------
    MembershipError
        They are not keys, or the threshold does not fit.
    """
    public, authority = sorted({_public_key(each) for each in keys}), store.authority()
    if threshold is None:
        threshold = threshold_after(authority.keys, len(public))
    try:
        key_set = KeySet(threshold, tuple(public))
    except MalformedStatement as error:
        raise MembershipError(error.what, expected=error.expected, got=error.got) from error
    charter, certificates = authority.charter, list(_certificates_anew(store, authority, issuers))
    renewed = {each.subject for each in certificates}
    drafted = [
        Signed(body=rotation_to(key_set, authority, grace_days=grace_days)),
        *([] if charter is None else [charter_body(authority, dict(charter.fields))]),
        *revocations_anew(authority, renewed=renewed),
        *(Signed(body=each) for each in certificates),
    ]
    return sign_with_entitled(drafted, store.network_keys(), authority)


def threshold_after(current: KeySet, keys: int) -> int:
    """Return how many of the next keys must sign by default: as many as now; of another number, a majority too."""
    if keys == len(current.keys):
        return current.threshold
    return min(keys, max(current.threshold, majority_of(keys)))


def rotation_to(keys: KeySet, authority: Authority, *, grace_days: float) -> Rotation:
    """Return the network's next rotation."""
    return Rotation(
        network=authority.id,
        number=authority.epoch + 1,
        previous_until=int(time.time() + days_of(grace_days, least=0) * DAY),
        keys=keys,
    )


def _certificates_anew(
    store: MembershipStore, authority: Authority, issuers: Collection[str]
) -> Iterator[Certificate]:
    """Yield a new certificate for each issuer that was not revoked."""
    now = time.time()
    days = {public_key_of(each): _DAYS_OF_OTHER_ISSUERS for each in issuers}
    own = [store.certificate().body] if store.has_certificate() else []
    for each in (*certificates_of_issuers(store), *own):
        if isinstance(each, Certificate) and each.role is Role.ISSUER and each.expires > now:
            days[each.subject] = validity_of(each)
    for subject, validity in days.items():
        if subject not in authority.revoked:
            yield body_of(authority, subject, role=Role.ISSUER, days=days_of(validity), now=now)


def _public_key(text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise MembershipError(
            "this is not the public half of a network key",
            expected="64 hexadecimal digits, as `gossipfl network key` prints them",
            got=repr(text[:80]),
        )
    return key
