"""Members of a closed network: whose summaries count, whoever passes them on, and what planted values show."""

import pytest

from gossipfl.errors import (
    CertificateOfAnotherPeer,
    CertificateRevoked,
    MalformedStatement,
    NotAllowed,
)
from gossipfl.membership import Role, canonical
from gossipfl.peer.membership.changing import admit, revoke
from gossipfl.peer.membership.entrance import Entrance
from gossipfl.peer.membership.store import MembershipStore
from gossipfl.peer.statistics.collection import Record, Summaries
from gossipfl.settings import parse_settings
from gossipfl.settings.addresses import peer_id_of
from tests.gossipfl.peer.membership.test_rotations import ALICE, CAROL, MALLORY, founded
from tests.gossipfl.statistics.tables import SCHEMA, row, told
from tests.gossipfl.wire.test_summaries import signed


def entrance(store, **network):
    settings = parse_settings({"network": network}, source="a test")
    charter = canonical({"statistics": "being gathered"})
    return Entrance(settings, store.directory, ALICE, charter=charter, follows_charter=False)


def test_only_summaries_with_a_members_own_certificate_count(tmp_path):
    store = founded(tmp_path)
    carols = admit(store, ALICE, CAROL.peer_id, role=Role.MEMBER, days=1).to_bytes()
    door = entrance(store)
    door.require_member(CAROL.peer_id, carols, among=None)
    door.require_member(ALICE.peer_id, door.certificate(), among=None)
    with pytest.raises(CertificateOfAnotherPeer):
        door.require_member(MALLORY.peer_id, carols, among=None)
    for nothing in (b"", bytes(40), carols[:-1]):
        with pytest.raises(MalformedStatement):
            door.require_member(MALLORY.peer_id, nothing, among=None)
    with pytest.raises(NotAllowed, match="not on the roster"):
        door.require_member(CAROL.peer_id, carols, among=[ALICE.peer_id])


def test_a_revoked_members_summary_is_skipped(tmp_path):
    store = founded(tmp_path)
    carols = admit(store, ALICE, CAROL.peer_id, role=Role.MEMBER, days=1).to_bytes()
    revoke(store, ALICE, CAROL.peer_id)
    door = entrance(store)
    summaries = Summaries(
        SCHEMA,
        door.network,
        admit=lambda key, certificate: door.require_member(peer_id_of(key), certificate, among=None),
    )
    data = signed(told([row()] * 9), identity=CAROL, network=door.network)
    assert not summaries.add(Record(data, carols))
    assert not summaries.members
    with pytest.raises((CertificateRevoked, NotAllowed)):
        door.require_member(CAROL.peer_id, carols, among=None)


def test_with_a_list_only_those_on_it_count(tmp_path):
    door = entrance(MembershipStore(tmp_path / "membership"), allow=[CAROL.peer_id])
    door.require_member(CAROL.peer_id, b"", among=None)
    with pytest.raises(NotAllowed, match="list of allowed peers"):
        door.require_member(MALLORY.peer_id, b"", among=None)


def test_no_planted_value_leaves():
    """Neither a name that few rows have, nor a single person's number."""
    planted = [row(age="41.123456789", ward="canary-7f3", dose="0.987654321") for _ in range(2)]
    rows = [row(age=str(40 + n), dose=str(n)) for n in range(20)] + planted
    data = signed(told(rows))
    assert b"canary" not in data
    extremes_apart = (41_123_456_789_000, 987_654_321_000)
    assert not any(value.to_bytes(size, "little") in data for value in extremes_apart for size in (8, 16, 32))
