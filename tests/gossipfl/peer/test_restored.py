"""A home restored from a copy: its peer is heard again, though its neighbours heard later starts of it."""

import logging
import shutil
import time

import pytest
import trio
from trio.testing import MockClock

from gossipfl.peer import Home, Peer
from gossipfl.peer.gossip import later_starts
from gossipfl.peer.gossip.doubles import REMINDER_SECONDS
from tests.gossipfl.network.helpers import in_trio, until
from tests.integration.peers import quick_settings, records_of, running

LONG = {"patience": 1000.0}
AHEAD = 2_500_000_000_000  # an incarnation from a clock that is decades ahead


def put_aside(home: Home) -> None:
    shutil.copytree(home.directory, home.directory.with_suffix(".copy"))


def put_back(home: Home) -> None:
    shutil.rmtree(home.directory)
    home.directory.with_suffix(".copy").rename(home.directory)


def merged_from(home: Home, sender: str) -> list[int]:
    """Incarnations of a sender whose models were merged, in order."""
    return [each["sender_incarnation"] for each in records_of(home, "merge") if each["sender"] == sender]


async def lived_on(hub: Peer, directory) -> tuple[Home, str]:
    """A peer that has run beside the hub, has been copied aside, and has run on."""
    settings = quick_settings(1, bootstrap=hub.status().addresses, exchange=LONG)
    first = Peer(directory, settings=settings)
    async with running(first):
        await until(lambda: merged_from(hub.home, first.status().peer_id))
    put_aside(first.home)
    return first.home, first.status().peer_id


@in_trio
async def test_a_restored_copy_is_heard_while_its_neighbours_run_on(tmp_path):
    hub = Peer(tmp_path / "hub", settings=quick_settings(0, exchange=LONG))
    async with running(hub):
        home, peer_id = await lived_on(hub, tmp_path / "alice")
        for _ in range(2):
            later = Peer(home.directory)
            async with running(later):
                heard = later.status().incarnation
                await until(lambda heard=heard: heard in merged_from(hub.home, peer_id))
        put_back(home)
        restored = Peer(home.directory)
        async with running(restored):
            incarnation = restored.status().incarnation
            assert incarnation >= heard
            await until(lambda: len(merged_from(restored.home, hub.status().peer_id)) > 3)
            await until(lambda: merged_from(hub.home, peer_id)[-3:] == [incarnation] * 3)


@in_trio
async def test_a_restored_copy_whose_clock_was_ahead_learns_how_far_and_goes_beyond(tmp_path, caplog):
    hub = Peer(tmp_path / "hub", settings=quick_settings(0, exchange=LONG))
    async with running(hub):
        home, peer_id = await lived_on(hub, tmp_path / "alice")
        (home.directory / "incarnation").write_text(f"{AHEAD}\n")
        async with running(Peer(home.directory)):
            await until(lambda: AHEAD + 1 in merged_from(hub.home, peer_id))
        put_back(home)
        restored = Peer(home.directory)
        with caplog.at_level(logging.WARNING):
            async with running(restored):
                assert restored.status().incarnation < AHEAD
                await until(lambda: merged_from(hub.home, peer_id)[-3:] == [AHEAD + 2] * 3)
                assert restored.status().incarnation == AHEAD + 2
                [condition] = restored.status().conditions
                assert condition["name"] == "clock"
                assert "behind that of an earlier start" in condition["text"]
                assert restored.status().network["refused"].keys() <= {"peer_busy"}  # between its two starts
    assert caplog.text.count(f"neighbours know incarnation {AHEAD + 1} of this peer") == 1
    # The log of what others send is limited for the whole process.
    assert caplog.text.count("it sends models of an earlier start than was heard of before") <= 1
    starts = [each["incarnation"] for each in records_of(restored.home, "start")]
    assert starts[-1] == AHEAD + 2
    assert starts == sorted(set(starts))
    assert (home.directory / "incarnation").read_text() == f"{AHEAD + 2}\n"


@in_trio
async def test_a_peer_that_starts_again_can_be_stopped(tmp_path, monkeypatch):
    hub = Peer(tmp_path / "hub", settings=quick_settings(0, exchange=LONG))
    async with running(hub):
        home, peer_id = await lived_on(hub, tmp_path / "alice")
        (home.directory / "incarnation").write_text(f"{AHEAD}\n")
        async with running(Peer(home.directory)):
            await until(lambda: AHEAD + 1 in merged_from(hub.home, peer_id))
        put_back(home)
        restored = Peer(home.directory)
        numbered, asked = Home.next_incarnation, []

        def stopping(home, *, beyond):
            asked.append(beyond)
            if beyond:
                restored.stop()
            return numbered(home, beyond=beyond)

        monkeypatch.setattr(Home, "next_incarnation", stopping)
        async with running(restored):
            await until(lambda: not home.is_running())
        assert asked == [0, AHEAD + 1]


@in_trio
async def test_one_neighbour_among_many_cannot_make_a_peer_start_again():
    reported, said = [], 2**41
    starts = later_starts.LaterStarts(
        incarnation=100, starts_before=0, start_again=None, report_double=reported.append
    )
    assert not starts.is_later("a", None)
    assert not starts.is_later("b", 100)  # its own
    assert starts.is_later("liar", said)
    assert starts.newest == 0
    assert not reported
    assert starts.is_later("b", said + 1)  # which accepted this start before
    assert starts.newest == said + 1
    assert len(reported) == 1
    assert not starts.is_later("c", 2**62)  # beyond any clock
    assert not starts.is_later("d", 99)
    assert starts.newest == 0
    for number in range(1000):
        starts.is_later(f"sybil {number}", None)
    assert len(starts._heard) <= 64


@pytest.mark.parametrize(("later", "is_copied"), [(500, True), (3_600_000, False)])
@in_trio
async def test_a_start_after_this_one_that_no_clock_was_ahead_for_is_a_copys(later, is_copied):
    started, reported = int(1000 * time.time()) - 60_000, []
    starts = later_starts.LaterStarts(
        incarnation=started, starts_before=0, start_again=None, report_double=reported.append
    )
    assert starts.is_later("neighbour that never accepted this start", started + later)
    assert bool(reported) == is_copied


@pytest.mark.parametrize(("before", "seconds"), [(0, 0), (1, 60), (2, 120), (5, 960)])
def test_a_liar_that_claims_ever_later_starts_is_heeded_ever_less_often(caplog, before, seconds):
    asked, reported = [], []

    async def start_again(beyond):
        asked.append((beyond, trio.current_time() - began))
        scope.cancel()

    async def main():
        nonlocal began, scope
        began = trio.current_time()
        starts = later_starts.LaterStarts(
            incarnation=AHEAD, starts_before=before, start_again=start_again, report_double=reported.append
        )
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(starts.go_beyond)
                for claim in range(1, 100_000):
                    assert starts.is_later("liar", AHEAD + claim)
                    await trio.sleep(0.5)

    began, scope = 0.0, None
    trio.run(main, clock=MockClock(autojump_threshold=0))
    [(beyond, at)] = asked
    assert seconds <= at <= seconds + 1
    assert beyond == pytest.approx(AHEAD + 1 + 2 * seconds, abs=3)
    assert len(reported) == (1 + seconds // REMINDER_SECONDS if before else 0)
