from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.errors import CertificateMissing, MalformedStatement, NotAMember, SecretNotProved
from gossipfl.membership import CertificateDoor, SecretDoor
from gossipfl.membership.sessions import proof_of

from .members import KEYS, authority, certificate, charter, key, network, rotations, session

SECRET = b"s" * 32
ALICE, BOB, CAROL = key("alice"), key("bob"), key("carol")


def other_end(here):
    return replace(here, own=here.other, other=here.own, is_initiator=not here.is_initiator)


@pytest.mark.parametrize("is_initiator", [True, False])
def test_a_proof_convinces_the_other_end_of_the_same_connection(is_initiator):
    here = session(ALICE, BOB, is_initiator=is_initiator)
    door = SecretDoor(SECRET)
    assert door.examine(other_end(here), door.introduction(here)) is None


CHANGES = {
    "another connection": lambda here: replace(here, binding=b"c" * 32),
    "another dialler": lambda here: replace(here, own=CAROL.peer_id),
    "another listener": lambda here: replace(here, other=CAROL.peer_id),
    "the other direction": lambda here: replace(here, is_initiator=False),
    "both sides swapped": lambda here: replace(here, own=here.other, other=here.own),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_proof_is_for_one_connection_between_two_peers_in_one_direction(change):
    """Each of these alone makes another proof: none of them may lean on the others."""
    here = session(ALICE, BOB)
    proof = SecretDoor(SECRET).introduction(here)
    assert SecretDoor(SECRET).introduction(change(here)) != proof
    with pytest.raises(SecretNotProved):
        SecretDoor(SECRET).examine(other_end(change(here)), proof)


def test_a_proof_is_of_one_secret_and_for_one_purpose():
    here = session(ALICE, BOB)
    proofs = {
        proof_of(secret, here, label=label, by_initiator=by_initiator)
        for secret in (SECRET, b"t" * 32)
        for label in (b"gossipfl secret 1\n", b"gossipfl invitation 1\n")
        for by_initiator in (True, False)
    }
    assert len(proofs) == 8


@given(st.binary(max_size=300))
def test_any_credential_is_refused_by_name(credential):
    of = network()
    doors = (
        SecretDoor(SECRET),
        CertificateDoor(authority(of), certificate=lambda: certificate(of, BOB)),
    )
    for door in doors:
        for shown in (credential, b"\x02" + credential, None):
            with pytest.raises((NotAMember, MalformedStatement)):
                door.examine(session(BOB, ALICE), shown)


@given(st.data())
def test_a_certificate_with_a_byte_changed_lets_nobody_in(data):
    of = network(*KEYS[:3], threshold=2)
    statement = certificate(of, ALICE, keys=KEYS[:2])
    theirs = CertificateDoor(authority(of), certificate=lambda: statement)
    shown = bytearray(theirs.introduction(session(ALICE, BOB)))
    shown[data.draw(st.integers(0, len(shown) - 1))] ^= data.draw(st.integers(1, 255))
    door = CertificateDoor(authority(of), certificate=lambda: certificate(of, BOB, keys=KEYS[:2]))
    with pytest.raises((NotAMember, MalformedStatement)):
        door.examine(session(BOB, ALICE), bytes(shown))


def test_what_another_kind_of_door_shows_is_no_certificate():
    of = network()
    door = CertificateDoor(authority(of), certificate=lambda: certificate(of, BOB))
    here = session(ALICE, BOB)
    with pytest.raises(CertificateMissing):
        door.examine(other_end(here), SecretDoor(SECRET).introduction(here))


@pytest.mark.parametrize(("keys_each", "missed"), [(1, 15), (8, 5)])
def test_a_member_that_missed_some_rotations_hears_of_them_at_the_door(keys_each, missed):
    """Its own certificate still holds, and it could verify that of no other."""
    of = network()
    changes, keys = rotations(of, missed, keys_each=keys_each)
    theirs = certificate(of, BOB, keys=keys)
    there = CertificateDoor(
        authority(of, *changes, charter(of, {"steps": "1"}, keys=keys)), certificate=lambda: theirs
    )
    away = authority(of)
    here = CertificateDoor(away, certificate=lambda: certificate(of, ALICE))
    ours = session(ALICE, BOB)
    assert there.examine(other_end(ours), here.introduction(ours)) is not None
    assert here.examine(ours, there.introduction(other_end(ours))) is not None
    assert away.epoch == missed and away.charter is not None


def test_the_last_rotations_of_many_are_told_at_the_door():
    of = network()
    changes, keys = rotations(of, 40)
    there = CertificateDoor(authority(of, *changes), certificate=lambda: certificate(of, BOB, keys=keys))
    away = authority(of, *changes[:30])
    here = CertificateDoor(away, certificate=lambda: certificate(of, ALICE))
    here.examine(session(ALICE, BOB), there.introduction(session(BOB, ALICE)))
    assert away.epoch == 40
