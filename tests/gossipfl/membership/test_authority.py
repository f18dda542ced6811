import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.errors import (
    CertificateExpired,
    CertificateForged,
    CertificateNotYetValid,
    CertificateOfAnotherNetwork,
    CertificateOfAnotherPeer,
    CertificateRevoked,
    MalformedStatement,
    NotAMember,
    TooFewSignatures,
)
from gossipfl.membership import Grant, Role, Signed
from gossipfl.membership import authority as module
from gossipfl.membership.invitations import MOST_GRANT_BYTES
from gossipfl.membership.signing import Signature

from .members import (
    KEYS,
    NOW,
    authority,
    certificate,
    charter,
    key,
    key_set,
    network,
    revocation,
    rotation,
    rotations,
)

ALICE, BOB, ISSUER = key("alice"), key("bob"), key("issuer")
TWO_OF_THREE = network(*KEYS[:3], threshold=2)


def examine(own, statement, subject=ALICE, now=NOW):
    return own.member(statement, subject=subject.public_key, now=now)


def issuing(of, *, keys=KEYS[:1], **changes):
    return ISSUER, certificate(of, ISSUER, keys=keys, role=Role.ISSUER, **changes)


@given(st.sets(st.integers(0, 4)), st.integers(1, 3))
def test_as_many_network_keys_as_must_sign_and_no_others(signers, threshold):
    of = network(*KEYS[:3], threshold=threshold)
    statement = certificate(of, ALICE, keys=[KEYS[each] for each in signers])
    if len(signers & {0, 1, 2}) >= threshold:
        assert examine(authority(of), statement).certificate == statement.body
    else:
        with pytest.raises(TooFewSignatures):
            examine(authority(of), statement)


WRONG = {
    "expired": (certificate(network(), ALICE, expires=NOW), CertificateExpired),
    "not yet valid": (certificate(network(), ALICE, not_before=NOW + 1), CertificateNotYetValid),
    "another network's": (certificate(network(name="other"), ALICE), CertificateOfAnotherNetwork),
    "another peer's": (certificate(network(), BOB), CertificateOfAnotherPeer),
    "signed by nobody": (certificate(network(), ALICE, keys=[]), TooFewSignatures),
    "signed by a stranger": (certificate(network(), ALICE, keys=KEYS[1:2]), TooFewSignatures),
    "no certificate": (revocation(network(), BOB), MalformedStatement),
    "by an issuer that was let in by nobody": (
        certificate(network(), ALICE, issuer=issuing(network(), keys=KEYS[1:2])),
        TooFewSignatures,
    ),
    "by a member that is not an issuer": (
        certificate(network(), ALICE, issuer=(ISSUER, certificate(network(), ISSUER))),
        TooFewSignatures,
    ),
    "by an issuer of another network": (
        certificate(network(), ALICE, issuer=issuing(network(name="other"))),
        CertificateOfAnotherNetwork,
    ),
    "by somebody in an issuer's name": (
        certificate(network(), ALICE, issuer=(BOB, issuing(network())[1])),
        CertificateForged,
    ),
    "by an issuer that has expired": (
        certificate(network(), ALICE, issuer=issuing(network(), expires=NOW)),
        CertificateExpired,
    ),
    "an issuer's, by an issuer": (
        certificate(network(), ALICE, issuer=issuing(network()), role=Role.ISSUER),
        TooFewSignatures,
    ),
}


@pytest.mark.parametrize(("statement", "error"), WRONG.values(), ids=WRONG)
def test_a_certificate_that_does_not_hold_is_refused_by_name(statement, error):
    with pytest.raises(error):
        examine(authority(network()), statement)


@pytest.mark.parametrize("place", [0, 31, 63])
def test_a_forged_signature_is_found(place):
    statement = certificate(network(), ALICE)
    forged = bytearray(statement.signatures[0].signature)
    forged[place] ^= 1
    with pytest.raises(CertificateForged):
        examine(
            authority(network()),
            replace(statement, signatures=(Signature(KEYS[0].public_key, bytes(forged)),)),
        )


def test_an_issuer_lets_in_without_any_network_key():
    statement = certificate(TWO_OF_THREE, ALICE, issuer=issuing(TWO_OF_THREE, keys=KEYS[:2]))
    member = examine(authority(TWO_OF_THREE), statement)
    assert member.issuer is not None and member.issuer.subject == ISSUER.public_key


def test_who_is_revoked_is_out_for_good_and_only_who_may_revokes():
    of = network()
    own, statement = authority(of), certificate(of, ALICE)
    member = examine(own, statement)
    with pytest.raises(TooFewSignatures):
        own.learn(revocation(of, ALICE, keys=KEYS[1:2]), now=NOW)
    assert own.learn(revocation(of, ALICE), now=NOW)
    assert not own.learn(revocation(of, ALICE), now=NOW)
    with pytest.raises(CertificateRevoked):
        examine(own, certificate(of, ALICE, serial=1))
    with pytest.raises(CertificateRevoked):
        own.require_valid(member, now=NOW)
    assert examine(own, certificate(of, BOB), BOB)


def test_an_issuer_puts_out_whom_it_let_in_and_nobody_else():
    of, issuer = network(), issuing(network())
    own = authority(of)
    own.learn(revocation(of, ALICE, issuer=issuer), now=NOW)
    own.learn(revocation(of, BOB, issuer=issuer), now=NOW)
    with pytest.raises(CertificateRevoked):
        examine(own, certificate(of, ALICE, issuer=issuer))
    assert examine(own, certificate(of, BOB), BOB)


def test_whom_a_revoked_issuer_let_in_is_out_too():
    of, issuer = network(), issuing(network())
    own = authority(of, revocation(of, ISSUER))
    with pytest.raises(CertificateRevoked):
        examine(own, certificate(of, ALICE, issuer=issuer))


def test_old_keys_count_until_the_rotation_says_and_their_rotations_never():
    of = network()
    own = authority(of, rotation(of, key_set(KEYS[1]), previous_until=NOW + 10))
    old, new = certificate(of, ALICE), certificate(of, ALICE, keys=KEYS[1:2], serial=1)
    assert examine(own, new) and examine(own, old)
    assert own.expires(examine(own, old)) == NOW + 10
    assert examine(own, new, now=NOW + 10)
    with pytest.raises(CertificateExpired):
        examine(own, old, now=NOW + 10)
    with pytest.raises(CertificateExpired):
        own.learn(revocation(of, ALICE), now=NOW + 10)
    with pytest.raises(TooFewSignatures):
        own.learn(rotation(of, key_set(KEYS[0]), number=2), now=NOW)
    assert own.learn(
        rotation(of, key_set(KEYS[2]), keys=KEYS[1:2], number=2, previous_until=NOW + 5), now=NOW
    )
    with pytest.raises(CertificateExpired):  # the earliest end counts
        examine(own, old, now=NOW + 5)


def test_a_rotation_that_follows_on_nothing_known_waits():
    of = network()
    own = authority(of)
    assert not own.learn(rotation(of, key_set(KEYS[1]), number=2), now=NOW)
    assert own.learn(rotation(of, key_set(KEYS[1])), now=NOW)
    assert not own.learn(rotation(of, key_set(KEYS[2])), now=NOW)
    assert own.keys == key_set(KEYS[1])


def test_a_revocation_is_signed_anew_by_new_keys():
    of = network()
    own = authority(of, revocation(of, ALICE), rotation(of, key_set(KEYS[1]), previous_until=NOW + 10))
    before = own.digest()
    assert own.learn(revocation(of, ALICE, keys=KEYS[1:2]), now=NOW)
    assert own.digest() != before
    newcomer = authority(of, *own.statements(), now=NOW + 10)
    with pytest.raises(CertificateRevoked):
        examine(newcomer, certificate(of, ALICE, keys=KEYS[1:2]), now=NOW + 10)


def test_the_charter_with_the_highest_number_holds():
    of = network()
    own = authority(of, charter(of, {"steps": "2"}, number=2), charter(of, {"steps": "1"}, number=1))
    assert own.charter is not None and own.charter.fields == (("steps", "2"),)
    with pytest.raises(TooFewSignatures):
        own.learn(charter(of, {"steps": "3"}, keys=KEYS[1:2], number=3), now=NOW)


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        (certificate(network(), BOB), MalformedStatement),
        (revocation(network(name="other"), BOB), CertificateOfAnotherNetwork),
        (charter(network(name="other"), {"steps": "1"}), CertificateOfAnotherNetwork),
    ],
    ids=["a certificate", "a revocation of another network", "a charter of another network"],
)
def test_what_is_no_news_of_this_network_is_not_passed_on(statement, error):
    own = authority(network())
    before = own.digest()
    with pytest.raises(error):
        own.learn(statement, now=NOW)
    assert (own.digest(), own.revoked, own.charter) == (before, frozenset(), None)


def test_an_issuer_can_fill_its_own_share_of_revocations_and_no_more(monkeypatch):
    monkeypatch.setattr(module, "_MOST_REVOKED_BY_ISSUER", 2)
    of = network()
    own = authority(of, *(revocation(of, key(each), issuer=issuing(of)) for each in ("a", "b")))
    assert not own.learn(revocation(of, key("a"), issuer=issuing(of)), now=NOW)  # known, and so not counted
    with pytest.raises(NotAMember, match="too many peers were revoked"):
        own.learn(revocation(of, key("c"), issuer=issuing(of)), now=NOW)
    other = (BOB, certificate(of, BOB, role=Role.ISSUER))
    assert own.learn(revocation(of, key("c"), issuer=other), now=NOW)
    assert own.learn(revocation(of, ALICE), now=NOW)


@given(st.permutations(range(6)))
def test_the_order_in_which_news_come_does_not_matter(order):
    of = network()
    news = [
        *(revocation(of, each) for each in (ALICE, BOB)),
        charter(of, {"steps": "1"}),
        charter(of, {"steps": "2"}, number=2),
        revocation(of, key("carol")),
        revocation(of, key("dave"), issuer=issuing(of)),
    ]
    own = authority(of, *(news[each] for each in order))
    assert own.digest() == authority(of, *news).digest()
    assert own.digest() == authority(of, *own.statements()).digest()


@given(st.binary(max_size=300))
def test_nothing_signed_by_strangers_is_learned(data):
    of = network()
    own = authority(of)
    with contextlib.suppress(
        MalformedStatement, CertificateOfAnotherNetwork, TooFewSignatures, CertificateForged
    ):
        own.learn(Signed.from_bytes(data), now=NOW)
    assert own.digest() == authority(of).digest()


@pytest.mark.parametrize(("keys_each", "most"), [(1, 182), (8, 30)])
def test_as_many_rotations_as_a_newcomer_can_be_told_of_with_its_certificate(keys_each, most):
    of = network()
    changes, _ = rotations(of, most + 2, keys_each=keys_each)
    known = authority(of, *changes[:most])
    with pytest.raises(NotAMember, match="keys were replaced too often"):
        for each in changes[most:]:
            known.learn(each, now=NOW)
    assert known.epoch >= most
    own = [key(f"rotation {known.epoch} {place}") for place in range(keys_each)]
    grant = Grant(network=of, certificate=certificate(of, BOB, keys=own), statements=known.rotations)
    assert len(grant.to_bytes()) < MOST_GRANT_BYTES - 12 * 1024  # which a charter may have
    assert Grant.from_bytes(grant.to_bytes()).authority(network=of.id, subject=BOB.public_key, now=NOW)


def test_no_more_signatures_of_a_rotation_are_kept_than_must_sign():
    of = network(*KEYS[:3], threshold=2)
    known = authority(of, rotation(of, key_set(KEYS[3]), keys=KEYS[:3]))
    assert len(known.rotations[0].signatures) == 2
    assert authority(of, *known.rotations).epoch == 1
