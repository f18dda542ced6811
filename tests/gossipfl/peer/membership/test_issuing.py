"""Renewals of certificates by an issuer."""

import time
from types import SimpleNamespace

import pytest

from gossipfl.errors import MembershipError
from gossipfl.membership import Role
from gossipfl.peer.membership.collecting import apply, sign
from gossipfl.peer.membership.drafting import draft_rotation
from gossipfl.peer.membership.issuing import DAY, Issuer, certify, signers_at_hand
from gossipfl.peer.membership.store import MembershipStore
from tests.gossipfl.network.helpers import identity_of, in_trio

from .test_news import Told
from .test_revoking import without_keys
from .test_rotations import ALICE, BOB, founded


@pytest.mark.parametrize("days", [0.001, 1, 365])
def test_a_renewed_certificate_is_valid_for_as_long_as_the_first(tmp_path, days):
    """Certificates are valid from an hour before, which counted for the next one at each renewal."""
    store, now = founded(tmp_path), time.time()
    authority = store.authority()
    issuer, signers = Issuer(store, authority, ALICE), signers_at_hand(store, authority, ALICE)
    certificate = certify(authority, BOB.public_key, signers=signers, role=Role.MEMBER, days=days, now=now)
    for _ in range(3):
        member = authority.member(certificate, subject=BOB.public_key, now=now)
        assert abs(member.certificate.expires - now - days * DAY) <= 1
        assert issuer.renewed(member, now=now + 0.5 * days * DAY) == []
        now = member.certificate.expires - 1
        [certificate] = issuer.renewed(member, now=now)


def test_an_issuer_is_told_that_only_network_keys_can_sign(tmp_path):
    store = founded(tmp_path, keys=3)
    without_keys(store)
    authority = store.authority()
    for identity, what in (
        (ALICE, "network keys must sign this, not an issuer"),
        (BOB, "network keys must sign"),
    ):
        with pytest.raises(MembershipError, match=f"{what}.*2 of its 3 network keys") as refused:
            signers_at_hand(store, authority, identity, role=Role.ISSUER)
        assert "issuer's certificate" not in str(refused.value)


def test_a_certificate_that_cannot_be_renewed_is_logged_once(tmp_path, caplog):
    store, now = founded(tmp_path), time.time()
    authority = store.authority()
    signers = signers_at_hand(store, authority, ALICE)
    certificate = certify(authority, BOB.public_key, signers=signers, role=Role.ISSUER, days=1, now=now)
    member = authority.member(certificate, subject=BOB.public_key, now=now)
    without_keys(store)
    issuer = Issuer(store, authority, ALICE)
    for _ in range(5):
        assert issuer.renewed(member, now=member.certificate.expires - 1) == []
    assert caplog.text.count("was not renewed: network keys must sign this, not an issuer") == 1


@in_trio
async def test_an_issuer_gets_from_a_running_peer_what_network_keys_have_signed_for_it(tmp_path):
    """Its operator applies a rotation in one home only."""
    store, new_key, now = founded(tmp_path), identity_of("new key"), time.time()
    authority = store.authority()
    signers = signers_at_hand(store, authority, ALICE, role=Role.ISSUER)
    bobs = MembershipStore(tmp_path / "bob")
    bobs.write_authority(authority)
    bobs.write_certificate(
        certify(authority, BOB.public_key, signers=signers, role=Role.ISSUER, days=9, now=now)
    )
    drafted = draft_rotation(store, [new_key.public_key.hex()], grace_days=30, issuers=[BOB.peer_id])
    drafted = sign(drafted, [*store.network_keys(), new_key], authority)
    without_keys(store)
    [for_bob] = apply(store, ALICE, drafted)
    old, new = Told(store, ALICE), Told(bobs, BOB)
    new.other, old.other = old, new
    old.attach(SimpleNamespace(members=SimpleNamespace(member=lambda _: new.member, require=lambda: None)))
    await new._compare(ALICE.peer_id)
    assert (new.member.epoch, new.member.certificate.role) == (1, Role.ISSUER)
    assert bobs.certificate() == for_bob
