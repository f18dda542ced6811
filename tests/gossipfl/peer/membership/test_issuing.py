"""Renewals of certificates by an issuer."""

import time

import pytest

from gossipfl.errors import MembershipError
from gossipfl.membership import Role
from gossipfl.peer.membership.issuing import DAY, Issuer, certify, signers_at_hand

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
