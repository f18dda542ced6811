"""Doors over real sockets: who is let in, what a stranger is told, and who is told why."""

import logging
from contextlib import asynccontextmanager

import pytest

from gossipfl.errors import (
    CertificateMissing,
    ExchangeFailed,
    IncompatibleCharter,
    NotAdmitted,
    NotAMember,
    PeerUnreachable,
)
from gossipfl.membership import (
    NOT_A_MEMBER,
    AllowingDoor,
    CertificateDoor,
    OpenDoor,
    SecretDoor,
    Threshold,
)
from gossipfl.wire import Acknowledgement
from tests.gossipfl.membership.members import (
    KEYS,
    NOW,
    authority,
    certificate,
    key,
    key_set,
    network,
    revocation,
    rotation,
)

from .helpers import Outlaw, in_trio, model_frame, serving_host, until

SECRET = b"s" * 32
NETWORK = network()


def threshold(door, **charter):
    return Threshold(door, {name: str(value) for name, value in charter.items()})


def with_certificate(statement, of=NETWORK, *statements):
    return CertificateDoor(authority(of, *statements), certificate=lambda: statement)


@asynccontextmanager
async def hosts(listener, dialler, *, dialling=None, listening=None):
    """Two hosts with a threshold each."""
    async with (
        serving_host(threshold=listener, **({"identity": listening} if listening else {})) as here,
        serving_host(threshold=dialler, **({"identity": dialling} if dialling else {})) as there,
    ):
        yield here, there


async def exchange(there, here):
    reply = await there.exchange(here.peer_id, here.addresses, model_frame(), seconds=20)
    assert isinstance(reply, Acknowledgement)


def member(name):
    identity = key(f"member {name}")
    return identity, with_certificate(certificate(NETWORK, identity))


MEETINGS = {
    "open": (lambda a, b: OpenDoor(), lambda a, b: OpenDoor()),
    "one secret": (lambda a, b: SecretDoor(SECRET), lambda a, b: SecretDoor(SECRET)),
    "on the list": (lambda a, b: AllowingDoor([b.peer_id]), lambda a, b: OpenDoor()),
    "on both lists, with one secret": (
        lambda a, b: AllowingDoor([b.peer_id], then=SecretDoor(SECRET)),
        lambda a, b: AllowingDoor([a.peer_id], then=SecretDoor(SECRET)),
    ),
    "certificates": (
        lambda a, b: with_certificate(certificate(NETWORK, a)),
        lambda a, b: with_certificate(certificate(NETWORK, b)),
    ),
}


@pytest.mark.parametrize("doors", MEETINGS.values(), ids=MEETINGS)
@in_trio
async def test_members_exchange(doors):
    listening, dialling = key("listening"), key("dialling")
    listener, dialler = (threshold(door(listening, dialling), steps=1) for door in doors)
    async with hosts(listener, dialler, listening=listening, dialling=dialling) as (here, there):
        await exchange(there, here)
        assert not here.counters.refused and not there.counters.failed
        assert here.members.knocks.described() == {"turned_away": [], "turned_away_by": []}


STRANGERS = {
    "no introduction at all": (SecretDoor(SECRET), None, "secret_not_proved"),
    "another secret": (SecretDoor(SECRET), SecretDoor(b"t" * 32), "secret_not_proved"),
    "no secret": (SecretDoor(SECRET), OpenDoor(), "secret_not_proved"),
    "not on the list": (AllowingDoor([KEYS[0].peer_id]), OpenDoor(), "not_allowed"),
    "no certificate": (
        with_certificate(certificate(NETWORK, key("listening"))),
        OpenDoor(),
        "certificate_missing",
    ),
}


@pytest.mark.parametrize(("door", "strangers", "why"), STRANGERS.values(), ids=STRANGERS)
@in_trio
async def test_a_stranger_is_told_so_and_nothing_else(door, strangers, why, caplog):
    theirs = None if strangers is None else threshold(strangers)
    async with hosts(threshold(door), theirs, listening=key("listening")) as (here, there):
        error = ExchangeFailed if strangers is None else NotAdmitted
        with caplog.at_level(logging.WARNING), pytest.raises(error):
            await exchange(there, here)
        await until(lambda: here.counters.refused[why] == 1)
        assert not here.connected()
        knock = here.members.knocks.described()["turned_away"][0]
        assert (knock["peer"], knock["address"], knock["why"]) == (there.peer_id, "127.0.0.1", why)
        assert any(there.peer_id in record.getMessage() for record in caplog.records)
        if strangers is not None:
            assert there.counters.failed["not_admitted"] == 1
            assert there.members.knocks.turned_away_by == (here.peer_id,)


@in_trio
async def test_a_stranger_without_introduction_is_sent_the_same_bytes_as_any_other():
    async with (
        serving_host(threshold=threshold(SecretDoor(SECRET), steps=1)) as host,
        Outlaw.connected_to(host) as outlaw,
    ):
        assert await outlaw.receive_all() == NOT_A_MEMBER


@in_trio
async def test_settings_that_differ_are_named_at_both_ends(caplog):
    listener, dialler = (threshold(SecretDoor(SECRET), local_steps=steps, rate=7) for steps in (1, 200))
    async with hosts(listener, dialler) as (here, there):
        with (
            caplog.at_level(logging.WARNING),
            pytest.raises(IncompatibleCharter, match="local_steps \\(here 200\\)"),
        ):
            await exchange(there, here)
        await until(lambda: here.counters.refused["incompatible_charter"] == 1)
        assert there.counters.refused["incompatible_charter"] == 1
        said = [record.getMessage() for record in caplog.records]
        assert any("local_steps (here 1)" in each and there.peer_id in each for each in said)
        assert not any("rate" in each for each in said)


class Capturing(OpenDoor):
    """Lets everybody in, and keeps what they show."""

    def __init__(self):
        self.shown = []

    def examine(self, session, credential):
        self.shown.append(credential)


class Repeating(OpenDoor):
    """Shows what somebody else has shown."""

    def __init__(self, shown):
        self._shown = shown

    def introduction(self, session):
        return self._shown


@pytest.mark.parametrize(
    ("theirs", "why"),
    [
        (lambda identity: SecretDoor(SECRET), "secret_not_proved"),
        (lambda identity: with_certificate(certificate(NETWORK, identity)), "certificate_of_another_peer"),
    ],
    ids=["secret", "certificate"],
)
@in_trio
async def test_what_a_member_shows_to_a_stranger_is_of_no_use_to_it(theirs, why):
    """Somebody in the middle is dialled by a member, and passes on to another one what it was shown."""
    member_here, member_there, middle = key("here"), key("there"), Capturing()
    async with (
        serving_host(threshold=threshold(theirs(member_here)), identity=member_here) as victim,
        serving_host(threshold=threshold(middle)) as trap,
        serving_host(threshold=threshold(theirs(member_there)), identity=member_there) as member,
    ):
        with pytest.raises(NotAMember):
            await exchange(member, trap)
        assert middle.shown[0]
        async with serving_host(threshold=threshold(Repeating(middle.shown[0]))) as stranger:
            with pytest.raises(NotAdmitted):
                await exchange(stranger, victim)
        await until(lambda: victim.counters.refused == {why: 1})


@in_trio
async def test_a_member_that_dials_is_as_careful_as_one_that_listens():
    """A listener that is not a member is dropped, and told so, before any frame."""
    identity = key("member")
    async with (
        serving_host(threshold=threshold(OpenDoor())) as listener,
        serving_host(
            threshold=threshold(with_certificate(certificate(NETWORK, identity))), identity=identity
        ) as own,
        serving_host() as stock,
    ):
        for other in (listener, stock):
            with pytest.raises(CertificateMissing):
                await exchange(own, other)
        assert own.counters.refused == {"certificate_missing": 2}
        await until(lambda: listener.counters.refused == {"not_admitted": 1})
        assert own.counters.messages_sent == 0 and not own.connected()


@in_trio
async def test_who_was_away_hears_of_new_keys_at_the_door():
    here, there = key("here"), key("there")
    news = rotation(NETWORK, key_set(KEYS[1]), previous_until=2**40)
    away = with_certificate(certificate(NETWORK, here))
    knows = with_certificate(certificate(NETWORK, there, keys=KEYS[1:2]), NETWORK, news)
    async with hosts(threshold(away), threshold(knows), listening=here, dialling=there) as (
        listener,
        dialler,
    ):
        await exchange(dialler, listener)


@in_trio
async def test_who_is_revoked_while_connected_is_dropped():
    here, there = key("here"), key("there")
    own = authority(NETWORK)
    door = CertificateDoor(own, certificate=lambda: certificate(NETWORK, here))
    theirs = with_certificate(certificate(NETWORK, there))
    async with hosts(threshold(door), threshold(theirs), listening=here, dialling=there) as (
        listener,
        dialler,
    ):
        await exchange(dialler, listener)
        own.learn(revocation(NETWORK, there), now=NOW)
        listener.members.require()
        assert not listener.connected()
        with pytest.raises(NotAdmitted):
            await exchange(dialler, listener)
        with pytest.raises(PeerUnreachable):  # nor is it dialled
            await listener.exchange(dialler.peer_id, dialler.addresses, model_frame())
