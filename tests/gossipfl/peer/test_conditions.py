"""Conditions: in the status of a peer as long as they last."""

import time

import pytest
import trio
from trio.testing import MockClock

from gossipfl.cli.display import conditions_now
from gossipfl.peer import Peer
from gossipfl.peer.conditions import Conditions, watch_clock
from gossipfl.peer.status import read_status
from tests.gossipfl.cli.test_main import cli
from tests.gossipfl.network.helpers import in_trio, until
from tests.integration.peers import quick_settings, running

__all__ = ["cli"]


def names(peer):
    return {each["name"] for each in peer.status().conditions}


def test_a_condition_keeps_its_beginning_and_ends():
    conditions = Conditions()
    conditions.note("disk", "full")
    [first] = conditions.to_values()
    conditions.note("disk", "fuller")
    assert conditions.to_values() == [{**first, "text": "fuller"}]
    conditions.clear("disk")
    conditions.clear("disk")
    assert conditions.to_values() == []


def test_a_condition_that_lasts_for_a_while_ends_unless_it_is_noted_again():
    now = [0.0]
    conditions = Conditions(clock=lambda: now[0])
    conditions.note("disk", "full")
    for moment in range(0, 50, 5):
        now[0] = moment
        conditions.note("copy", "two", seconds=10)
    now[0] = 54
    assert [each["name"] for each in conditions.to_values()] == ["disk", "copy"]
    now[0] = 55
    assert [each["name"] for each in conditions.to_values()] == ["disk"]


@pytest.mark.parametrize(("jump", "text"), [(-3600.0, "back by 3600 s"), (90.0, "forward by 90 s")])
def test_a_clock_that_jumps_is_noticed_and_forgotten(caplog, jump, text):
    conditions, recorded = Conditions(), []

    def clock():
        return (
            1e9 + trio.current_time() + 1e-4 * trio.current_time() + (jump if trio.current_time() > 50 else 0)
        )

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch_clock, conditions, recorded.append, clock)
            await trio.sleep(49)
            assert conditions.to_values() == []
            await trio.sleep(10)
            [condition] = conditions.to_values()
            assert text in condition["text"]
            await trio.sleep(4000)
            assert conditions.to_values() == []
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert caplog.text.count(text) == 1
    assert [each["kind"] for each in recorded] == ["clock_jump"]
    assert recorded[0]["jump_seconds"] == pytest.approx(jump, abs=0.01)


@in_trio
async def test_a_full_disk_is_a_condition_until_there_is_room(tmp_path, monkeypatch, cli):
    peer = Peer(tmp_path / "alice", settings=quick_settings(exchange={"patience": 0.02}))
    async with running(peer):
        await until(lambda: peer.status().saved_age > 0)
        with monkeypatch.context() as patched:

            def full(*_, **__):
                raise OSError(28, "No space left on device")

            patched.setattr("gossipfl.peer.housekeeping.save_checkpoint", full)
            patched.setattr("gossipfl.files.AppendedFile.append", full)
            await until(lambda: {"disk", "records"} <= names(peer))
            await until(lambda: read_status(peer.home.status)["conditions"])
            code, out, _ = await trio.to_thread.run_sync(cli, "peer", "status", "--home", peer.home.directory)
            assert code == 0
            assert "running, but: disk, records" in out
            assert "Make room on the disk" in " ".join(out.split())
        await until(lambda: not names(peer))


def test_what_a_peer_could_not_write_is_said_by_the_command(tmp_path, monkeypatch):
    values = {"updated": time.time(), "gate": {"decisions": {}, "quarantined": ["a", "b"]}, "conditions": []}
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 0}))
    assert [each["name"] for each in conditions_now(values, tmp_path)] == ["quarantine", "disk"]
