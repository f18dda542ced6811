"""One identity in use twice, as after a machine was cloned: all three parties say so."""

import logging
import shutil
import time

from gossipfl.peer import Peer
from gossipfl.peer.gossip.doubles import LASTING_SECONDS, Doubles
from tests.gossipfl.network.helpers import announced, identity_of, in_trio, until
from tests.integration.peers import quick_settings, running

VIEWS = {"period": 0.05}


def reports(peer: Peer) -> int:
    return peer.counters.refused["identity_in_use_twice"]


@in_trio
async def test_two_clones_and_a_third_peer_each_name_the_clone(tmp_path, caplog):
    hub = Peer(tmp_path / "hub", settings=quick_settings(0, view=VIEWS))
    async with running(hub):
        settings = quick_settings(1, bootstrap=hub.status().addresses, view=VIEWS)
        original = Peer(tmp_path / "original", settings=settings)
        async with running(original):
            peer_id = original.status().peer_id
        shutil.copytree(original.home.directory, tmp_path / "copy")
        first, second = Peer(tmp_path / "original"), Peer(tmp_path / "copy")
        with caplog.at_level(logging.WARNING):
            async with running(first, second):
                assert {each.status().peer_id for each in (first, second)} == {peer_id}
                await until(lambda: all(reports(each) for each in (hub, first, second)))
                await until(
                    lambda: any("newer announcements with its key" in line for line in caplog.messages)
                )
        assert [each["name"] for each in hub.status().conditions] == ["copy"]
        hub.conditions.clock = lambda: time.monotonic() + LASTING_SECONDS
        assert hub.status().conditions == []
    ours = [line for line in caplog.messages if "uses this peer's identity" in line]
    theirs = [line for line in caplog.messages if f"two peers use the identity {peer_id}" in line]
    for line in (*ours, *theirs):
        assert "gossipfl peer init" in line
        assert "127.0.0.1" in line or "no later start" in line
    assert len(ours) >= 2
    assert theirs


@in_trio
async def test_a_peer_that_moves_is_one_peer(tmp_path):
    hub = Peer(tmp_path / "hub", settings=quick_settings(0, view=VIEWS))
    async with running(hub):
        settings = quick_settings(1, bootstrap=hub.status().addresses, view=VIEWS)
        for _ in range(5):
            mover = Peer(tmp_path / "mover", settings=settings)
            (tmp_path / "mover" / "ports.json").unlink(missing_ok=True)
            async with running(mover):
                await until(lambda mover=mover: len(mover.status().metrics) and mover.status().connected)
        assert not reports(hub)
        assert not reports(mover)


def test_only_signs_that_are_new_count():
    found = []
    signs = Doubles(found.append)
    here = announced(identity_of("A"), "/ip4/10.0.0.1/tcp/1", sequence=5)
    for sequence in (6, 7, 7, 6, 7):
        signs.of_oneself(announced(identity_of("A"), "/ip4/10.0.0.2/tcp/1", sequence=sequence), here)
        signs.of_oneself(announced(identity_of("A"), "/ip4/10.0.0.1/tcp/1", sequence=sequence + 50), here)
    assert not found
    signs.of_oneself(announced(identity_of("A"), "/ip4/10.0.0.2/tcp/1", sequence=8), here)
    assert len(found) == 1
    assert "10.0.0.2" in str(found[0])
    for sequence in range(9, 3 * 2**7 + 6):
        signs.of_oneself(announced(identity_of("A"), "/ip4/10.0.0.2/tcp/1", sequence=sequence), here)
    assert len(found) == 8  # at 3, 6, 12, … signs


def test_newer_words_from_another_place_are_no_sign():
    found = []
    signs = Doubles(found.append)
    places = [f"/ip4/10.0.0.{place}/tcp/1" for place in (1, 2)]
    for sequence in range(20):
        known = announced(identity_of("A"), places[sequence % 2], sequence=sequence)
        newer = announced(identity_of("A"), places[(sequence + 1) % 2], sequence=sequence + 1)
        signs.of_another(newer, known)
    assert not found
    for sequence in range(3):
        newer = announced(identity_of("A"), places[0], sequence=30 + sequence)
        signs.of_another(announced(identity_of("A"), places[1], sequence=1), newer)
    assert len(found) == 1


def signs_of(signs, *sequences):
    here = announced(identity_of("A"), "/ip4/10.0.0.1/tcp/1", sequence=0)
    for sequence in sequences:
        signs.of_oneself(announced(identity_of("A"), "/ip4/10.0.0.2/tcp/1", sequence=sequence), here)


def test_signs_count_only_together():
    """Such as of a clock that is set back once a month."""
    now, found = [0.0], []
    signs = Doubles(found.append, clock=lambda: now[0])
    for month in range(12):
        signs_of(signs, month + 1)
        now[0] += 30 * 86_400
    assert not found
    signs_of(signs, 20, 21, 22)
    assert len(found) == 1


def test_what_goes_on_is_reported_again_before_the_condition_ends():
    now, found = [0.0], []
    signs = Doubles(found.append, clock=lambda: now[0])
    for sequence in range(1, 1000):
        before = len(found)
        signs_of(signs, sequence)
        now[0] += 10.0
        if len(found) > before:
            reported_at = now[0]
        assert sequence < 3 or now[0] - reported_at < LASTING_SECONDS / 2
    assert len(found) < 50


def test_memory_of_signs_is_bounded():
    signs = Doubles(lambda _: None)
    for number in range(1500):
        newer = announced(identity_of(f"peer {number}"), "/ip4/10.0.0.2/tcp/1", sequence=9)
        older = announced(identity_of(f"peer {number}"), "/ip4/10.0.0.1/tcp/1", sequence=1)
        signs.of_another(older, newer)
    assert len(signs._signs) == 1024


@in_trio
async def test_clones_that_exchange_models_know_it_before_any_view_tells_them(tmp_path):
    rare = {"period": 3600.0}
    hub = Peer(tmp_path / "hub", settings=quick_settings(0, view=rare))
    async with running(hub):
        settings = quick_settings(1, bootstrap=hub.status().addresses, view=rare)
        original = Peer(tmp_path / "original", settings=settings)
        async with running(original):
            await until(lambda: original.status().metrics and original.status().connected)
        shutil.copytree(original.home.directory, tmp_path / "copy")
        first, second = Peer(tmp_path / "original"), Peer(tmp_path / "copy")
        async with running(first, second):
            for each in (first, second):
                await until(lambda each=each: "copy" in [held["name"] for held in each.status().conditions])
