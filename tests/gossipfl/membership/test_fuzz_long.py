"""Statements, invitations, grants and conversations at the door from mutated bytes, by the hundred thousand."""

import os
import random
from contextlib import suppress
from dataclasses import replace

import pytest

from gossipfl.errors import GossipflError, InvalidInvitation, MalformedStatement
from gossipfl.membership import CertificateDoor, Invitation, OpenDoor, Role, SecretDoor, Signed, Threshold
from gossipfl.membership.codec import field, integer
from gossipfl.membership.invitations import Grant, _checksum
from gossipfl.membership.texts import decoded, encoded
from gossipfl.membership.threshold import Joined
from gossipfl.peer.membership.issuing import Issuer, invite
from gossipfl.peer.membership.store import MembershipStore
from tests.gossipfl.fuzzing import Tape, many, mutated, outcome

from .members import (
    KEYS,
    authority,
    certificate,
    charter,
    key,
    key_set,
    network,
    revocation,
    rotation,
    session,
)

SCALE = float(os.environ.get("GOSSIPFL_FUZZ_SCALE", "1"))
ALICE, BOB = key("alice"), key("bob")
NETWORK = network(*KEYS[:2])
ISSUER = (key("issuer"), certificate(NETWORK, key("issuer"), role=Role.ISSUER))
STATEMENTS = [
    certificate(NETWORK, ALICE),
    certificate(NETWORK, ALICE, issuer=ISSUER),
    revocation(NETWORK, BOB),
    revocation(NETWORK, BOB, issuer=ISSUER),
    rotation(NETWORK, key_set(*KEYS[2:4])),
    charter(NETWORK, {"task": '"digits"', "training.local_steps": "4"}),
]
CHARTER = {"task": '"digits"'}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]


def test_statements():
    """What is read at all is written as the same bytes; what is learned from it is signed."""
    dice, read = random.Random(1), 0
    honest = {each.to_bytes() for each in STATEMENTS}

    def learn():
        nonlocal read
        data = mutated(dice, dice.choice(STATEMENTS).to_bytes())
        try:
            statement = Signed.from_bytes(data)
        except MalformedStatement:
            return
        read += 1
        assert statement.to_bytes() == data
        own = authority(NETWORK)
        with suppress(GossipflError):
            if own.learn(statement, now=1_800_000_000.0):
                assert data in honest

    many("statements", learn, int(200_000 * SCALE))
    assert read


def test_invitations():
    dice, read = random.Random(2), 0
    honest = Invitation(
        network=NETWORK.id,
        issuer=ALICE.public_key,
        addresses=("/ip4/192.0.2.1/tcp/4001", "/dns4/peer.example/tcp/1"),
        number=bytes(8),
        secret=bytes(16),
        expires=1_900_000_000,
    ).to_text()
    content = decoded(honest.removeprefix("gossipfl1"))[:-4]

    def parse():
        nonlocal read
        if dice.random() < 0.5:
            text = mutated(dice, honest.encode()).decode("latin-1")
        else:
            changed = mutated(dice, content)
            text = "gossipfl1" + encoded(changed + _checksum(changed))
        with suppress(InvalidInvitation):
            read += bool(Invitation.from_text(text))

    many("invitations", parse, int(200_000 * SCALE))
    assert read


def test_grants():
    dice = random.Random(3)
    honest = Grant(
        network=NETWORK, certificate=STATEMENTS[0], statements=(STATEMENTS[4], STATEMENTS[5])
    ).to_bytes()

    def read():
        with suppress(GossipflError):
            grant = Grant.from_bytes(mutated(dice, honest))
            grant.authority(network=NETWORK.id, subject=ALICE.public_key, now=1_800_000_000.0)

    many("grants", read, int(50_000 * SCALE))


def test_conversations_at_the_door(tmp_path):
    """Both sides of it, at each kind of door, and requests to join."""
    dice = random.Random(4)
    store = MembershipStore(tmp_path / "membership")
    store.write_authority(authority(NETWORK))
    store.write_certificate(certificate(NETWORK, ALICE, role=Role.ISSUER))
    issuer = Issuer(store, store.authority(), ALICE)
    doors = [
        OpenDoor(),
        SecretDoor(b"s" * 32),
        CertificateDoor(store.authority(), certificate=store.certificate, issue=issuer.issue),
    ]
    there = session(ALICE, BOB)
    made = invite(
        store,
        store.authority(),
        ALICE,
        addresses=["/ip4/192.0.2.1/tcp/1"],
        role=Role.MEMBER,
        hours=1.0,
        days=1,
    )
    credentials = [
        b"\x00",
        SecretDoor(b"s" * 32).introduction(there),
        CertificateDoor(authority(NETWORK), certificate=lambda: STATEMENTS[0]).introduction(there),
    ]

    def message(kind, content):
        return integer(kind, 1) + field(content, size=2)

    def converse():
        credential = dice.choice(credentials)
        said = message(1, mutated(dice, credential) if dice.random() < 0.7 else credential)
        if dice.random() < 0.2:
            said = message(4, mutated(dice, made.number + bytes(32)))
        said += message(2, mutated(dice, bytes(40)))
        if dice.random() < 0.3:
            said = mutated(dice, said)
        tape, own = Tape(said), replace(there, is_initiator=dice.random() < 0.5)
        outcome(Threshold(dice.choice(doors), CHARTER).cross(tape, own), also=(Joined,))
        assert tape.asked <= 8 * 1024
        assert len(tape.sent) <= 4 * 1024

    many("conversations", converse, int(50_000 * SCALE))
