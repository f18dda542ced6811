"""Rotations of network keys, and the revocations that outlive them."""

import time
from dataclasses import replace

import pytest

from gossipfl.errors import CertificateExpired, CertificateForged
from gossipfl.membership import Authority, Grant, Role, vouch_for_those_of
from gossipfl.peer.membership.changing import revoke
from gossipfl.peer.membership.drafting import draft_rotation
from gossipfl.peer.membership.founding import found, rotate
from gossipfl.peer.membership.instalments import Instalments
from gossipfl.peer.membership.issuing import certify, signers_at_hand
from gossipfl.peer.membership.store import MembershipStore
from tests.gossipfl.membership.members import (
    KEYS,
    NOW,
    authority,
    certificate,
    charter,
    key_set,
    network,
    revocation,
    rotation,
)
from tests.gossipfl.network.helpers import identity_of, in_trio

from .test_news import Told

ALICE, MALLORY = identity_of("alice"), identity_of("mallory")
HEX = [each.public_key.hex() for each in KEYS]


def founded(directory, **changes):
    """The store of Alice, the first issuer of a new network."""
    store = MembershipStore(directory / "alice")
    found(store, ALICE, name="lab", charter={"steps": "1"}, **changes)
    return store


def numbers(keys):
    return keys.threshold, len(keys.keys)


@pytest.mark.parametrize(("keys", "threshold"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (8, 5)])
def test_a_majority_of_the_keys_must_sign_unless_the_founder_says_otherwise(tmp_path, keys, threshold):
    assert numbers(founded(tmp_path, keys=keys).authority().keys) == (threshold, keys)


@pytest.mark.parametrize(("threshold", "keys"), [(1, 1), (2, 2), (2, 3), (1, 3), (3, 3)])
def test_a_rotation_keeps_the_numbers_of_keys(tmp_path, threshold, keys):
    store = founded(tmp_path, keys=keys, threshold=threshold)
    assert numbers(draft_rotation(store, HEX[:keys], grace_days=1)[0].body.keys) == (threshold, keys)
    assert numbers(rotate(store, ALICE).authority.keys) == (threshold, keys)


@pytest.mark.parametrize(
    ("before", "keys", "threshold"), [((1, 1), 3, 2), ((2, 3), 5, 3), ((3, 3), 2, 2), ((3, 3), 4, 3)]
)
def test_of_another_number_of_keys_a_majority_must_sign_and_no_fewer_than_before(
    tmp_path, before, keys, threshold
):
    store = founded(tmp_path, keys=before[1], threshold=before[0])
    assert numbers(draft_rotation(store, HEX[:keys], grace_days=1)[0].body.keys) == (threshold, keys)
    assert numbers(rotate(store, ALICE, keys=keys).authority.keys) == (threshold, keys)


def test_who_comes_back_after_the_grace_is_let_in_and_still_knows_who_was_revoked(tmp_path):
    """Ben's disk holds a revocation by the old keys; what he is granted makes those keys worthless."""
    store, ben = founded(tmp_path), MembershipStore(tmp_path / "ben")
    revoke(store, ALICE, MALLORY.peer_id)
    ben.write_authority(store.authority())
    rotated = rotate(store, ALICE, grace_days=0).authority
    granted = Authority(rotated.network)
    for each in rotated.rotations:
        granted.learn(each, now=time.time())
    ben.merge(granted)
    assert ben.authority().epoch == 1 and ben.authority().is_revoked(MALLORY.public_key)
    assert granted.is_revoked(MALLORY.public_key)


def test_a_grant_with_a_charter_by_replaced_keys_lets_in(tmp_path):
    """Until the holders of the new keys sign the charter anew."""
    own, new = network(), key_set(KEYS[1])
    grant = Grant(
        network=own,
        certificate=certificate(own, ALICE, keys=KEYS[1:2]),
        statements=(rotation(own, new, previous_until=NOW), charter(own, {"steps": "1"})),
    )
    granted = grant.authority(network=own.id, subject=ALICE.public_key, now=NOW)
    assert granted.epoch == 1 and granted.charter is None


BOB, CAROL, DAVE = (identity_of(each) for each in ("bob", "carol", "dave"))


def admitted(store, identity, directory):
    """The store of a newcomer, with a certificate by Alice and what a grant brings."""
    authority = store.authority()
    own = MembershipStore(directory / identity.peer_id)
    signers = signers_at_hand(store, authority, ALICE)
    own.write_certificate(
        certify(authority, identity.public_key, signers=signers, role=Role.MEMBER, days=1, now=time.time())
    )
    newcomer = Authority(authority.network)
    for each in (*authority.rotations, *authority.charter_statements):
        newcomer.learn(each, now=time.time())
    own.write_authority(newcomer)
    return own


def without_keys(store):
    for path in store.keys_directory.iterdir():
        path.rename(store.directory / path.name)


def with_keys(store):
    for path in store.directory.glob("*.key"):
        path.rename(store.keys_directory / path.name)


async def told(store, newcomer, identity):
    """What a newcomer knows after a member of the network has answered it."""
    old, new = Told(store, ALICE), Told(newcomer, identity)
    new.other, old.other = old, new
    await new._compare("old")
    new._keep()
    return old, new


@in_trio
async def test_newcomers_after_rotations_hear_of_all_revocations_whoever_signed_them(tmp_path):
    store = founded(tmp_path)
    revoke(store, ALICE, MALLORY.peer_id)
    without_keys(store)
    revoke(store, ALICE, CAROL.peer_id, unlisted=True)
    with_keys(store)
    for _ in range(2):
        rotate(store, ALICE, grace_days=0)
    old, new = await told(store, admitted(store, BOB, tmp_path), BOB)
    assert new.authority.revoked == {MALLORY.public_key, CAROL.public_key}
    assert new.authority.digest() == old.authority.digest()
    restarted = Told(MembershipStore(tmp_path / BOB.peer_id), BOB)
    assert restarted.authority.digest() == old.authority.digest()
    assert not new.authority.is_revoked(CAROL.public_key)  # an issuer's stays an issuer's


def test_what_vouches_for_an_issuers_revocations_admits_no_one(tmp_path):
    store = founded(tmp_path)
    without_keys(store)
    revoke(store, ALICE, CAROL.peer_id, unlisted=True)
    with_keys(store)
    authority = rotate(store, ALICE, grace_days=0).authority
    [revoked] = authority.revocations
    forged = certificate(authority.network, DAVE, issuer=(ALICE, revoked.issuer))
    with pytest.raises(CertificateExpired):
        authority.member(forged, subject=DAVE.public_key, now=time.time())


def test_replaced_keys_revoke_no_one_whatever_is_known(tmp_path):
    own = network()
    known = authority(own, revocation(own, CAROL), rotation(own, key_set(KEYS[1]), previous_until=NOW))
    assert not known.learn(revocation(own, CAROL), now=NOW)
    with pytest.raises(CertificateExpired):
        known.learn(revocation(own, DAVE), now=NOW)


@in_trio
async def test_a_statement_by_replaced_keys_is_skipped_alone_and_named_with_a_count(tmp_path, caplog):
    """Those who hold different keys have rotated, and not all was signed anew in time."""
    store = founded(tmp_path)
    own = Told(store, ALICE)
    before = store.authority()
    keys = store.network_keys()
    stale = [revocation(before.network, each, keys=keys) for each in (MALLORY, DAVE)]
    after = rotate(store, ALICE, grace_days=0).authority
    fresh = revocation(after.network, CAROL, keys=[each for each in store.network_keys() if each not in keys])
    sent = [each.to_bytes() for each in (*after.rotations, *stale, fresh)]
    own._learn(sent, of="M", now=time.time())
    assert own.authority.revoked == {CAROL.public_key}
    assert "skipped 2 statements of member M: the network keys that signed have been replaced" in caplog.text


@in_trio
async def test_a_forged_statement_ends_the_message(tmp_path):
    store = founded(tmp_path)
    own, network_of_hers = Told(store, ALICE), store.authority().network
    [key] = store.network_keys()
    good = revocation(network_of_hers, CAROL, keys=[key])
    [signature] = good.signatures
    lie = replace(good, signatures=(replace(signature, signature=bytes(64)),))
    with pytest.raises(CertificateForged):
        own._learn([lie.to_bytes(), good.to_bytes()], of="M", now=time.time())
    assert not own.authority.revoked


def test_an_issuers_new_certificate_vouches_for_what_it_revoked(tmp_path):
    own = network()
    issuing = certificate(own, ALICE, role=Role.ISSUER)
    rotated = rotation(own, key_set(KEYS[1]), previous_until=NOW)
    known = authority(own, revocation(own, CAROL, issuer=(ALICE, issuing)), now=NOW - 1)
    known.learn(rotated, now=NOW)
    assert not any(known.is_verifiable(each, now=NOW) for each in known.revocations)
    assert Instalments(known).next_for("newcomer", now=NOW) == [rotated]
    renewed = certificate(own, ALICE, role=Role.ISSUER, keys=KEYS[1:2], serial=1)
    assert len(vouch_for_those_of(known, renewed, now=NOW)) == 1
    assert authority(own, *known.statements()).revoked == {CAROL.public_key}
