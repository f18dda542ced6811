"""Revocations that have an effect, and refusals of those that would have none."""

import time

import pytest

from gossipfl.errors import CertificateRevoked, MembershipError
from gossipfl.membership import Role
from gossipfl.peer.membership.changing import admit, revoke

from .test_rotations import ALICE, CAROL, MALLORY, founded


def without_keys(store):
    store.keys_directory.rename(store.directory / "safe")


@pytest.mark.parametrize("unlisted", [False, True])
def test_an_issuer_revokes_no_one_of_whom_it_has_no_record_unless_asked_to(tmp_path, unlisted):
    """It would change nothing for a peer that another admitted, or whose id is mistyped."""
    store = founded(tmp_path)
    without_keys(store)
    if unlisted:
        assert revoke(store, ALICE, MALLORY.peer_id, unlisted=True).changed
        return
    with pytest.raises(
        MembershipError, match="no effect: this issuer has no record that it admitted this peer"
    ):
        revoke(store, ALICE, MALLORY.peer_id)
    assert not store.authority().revoked


def test_an_issuer_cannot_revoke_what_network_keys_have_signed(tmp_path):
    store = founded(tmp_path)
    admit(store, ALICE, CAROL.peer_id, role=Role.MEMBER, days=1)
    without_keys(store)
    with pytest.raises(MembershipError, match="network keys have signed this peer's certificate"):
        revoke(store, ALICE, CAROL.peer_id)


def test_an_issuer_revokes_whom_it_admitted_by_hand_once(tmp_path):
    store = founded(tmp_path)
    without_keys(store)
    statement = admit(store, ALICE, CAROL.peer_id, role=Role.MEMBER, days=1)
    done = [revoke(store, ALICE, CAROL.peer_id).changed for _ in range(2)]
    assert done == [True, False]
    with pytest.raises(CertificateRevoked):
        store.authority().member(statement, subject=CAROL.public_key, now=time.time())


def test_network_keys_confirm_what_an_issuer_has_revoked(tmp_path):
    store = founded(tmp_path)
    without_keys(store)
    assert revoke(store, ALICE, CAROL.peer_id, unlisted=True).changed
    (store.directory / "safe").rename(store.keys_directory)
    assert revoke(store, ALICE, CAROL.peer_id).changed
    assert store.authority().is_revoked(CAROL.public_key)
    without_keys(store)
    assert not revoke(store, ALICE, CAROL.peer_id).changed


def test_an_issuer_adds_nothing_to_what_network_keys_have_revoked(tmp_path):
    store = founded(tmp_path)
    assert revoke(store, ALICE, CAROL.peer_id).changed
    without_keys(store)
    assert not revoke(store, ALICE, CAROL.peer_id).changed
    assert len(store.authority().revocations) == 1
