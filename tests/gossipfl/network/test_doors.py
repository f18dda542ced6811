"""Doors over real sockets: who is let in, what a stranger is told, and who is told why."""

import logging
from contextlib import asynccontextmanager

import pytest

from gossipfl.errors import (
    ExchangeFailed,
    IncompatibleCharter,
    NotAdmitted,
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
    authority,
    certificate,
    key,
    network,
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
