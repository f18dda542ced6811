"""Rotations of network keys, and the revocations that outlive them."""

import time

import pytest

from gossipfl.membership import Authority, Grant
from gossipfl.peer.membership.changing import draft_rotation, put_out
from gossipfl.peer.membership.founding import found, rotate
from gossipfl.peer.membership.store import MembershipStore
from tests.gossipfl.membership.members import KEYS, NOW, certificate, charter, key_set, network, rotation
from tests.gossipfl.network.helpers import identity_of

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
    assert numbers(draft_rotation(store, HEX[:keys], grace_days=1).body.keys) == (threshold, keys)
    assert numbers(rotate(store, ALICE).authority.keys) == (threshold, keys)


@pytest.mark.parametrize(
    ("before", "keys", "threshold"), [((1, 1), 3, 2), ((2, 3), 5, 3), ((3, 3), 2, 2), ((3, 3), 4, 3)]
)
def test_of_another_number_of_keys_a_majority_must_sign_and_no_fewer_than_before(
    tmp_path, before, keys, threshold
):
    store = founded(tmp_path, keys=before[1], threshold=before[0])
    assert numbers(draft_rotation(store, HEX[:keys], grace_days=1).body.keys) == (threshold, keys)
    assert numbers(rotate(store, ALICE, keys=keys).authority.keys) == (threshold, keys)


def test_who_comes_back_after_the_grace_is_let_in_and_still_knows_who_was_revoked(tmp_path):
    """Ben's disk holds a revocation by the old keys; what he is granted makes those keys worthless."""
    store, ben = founded(tmp_path), MembershipStore(tmp_path / "ben")
    put_out(store, ALICE, MALLORY.peer_id)
    ben.write_authority(store.authority())
    rotated = rotate(store, ALICE, grace_days=0).authority
    granted = Authority(rotated.network)
    for each in rotated.rotations:
        granted.learn(each, now=time.time())
    ben.merge(granted)
    assert ben.authority().epoch == 1 and ben.authority().is_out(MALLORY.public_key)
    assert granted.is_out(MALLORY.public_key)


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
