"""Repeated checks: what a peer is told, and what its operator sees, while readings and settings change."""

import logging
import threading
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import trio

from gossipfl.errors import SettingError
from gossipfl.peer.conditions import Conditions
from gossipfl.peer.permission import Permission, Permissions
from gossipfl.peer.policy import watching
from gossipfl.peer.policy.watching import PolicyWatch
from gossipfl.settings import PolicySettings
from tests.gossipfl.network.helpers import in_trio, until

EVERYTHING = Permission()
NO_TRAINING = Permission(trains=False)
NOTHING = Permission(trains=False, merges=False)


class Pressure:
    """A file as the kernel's, whose share of waiting can be set."""

    def __init__(self, path):
        self.path = path
        self.set(0.0)

    def set(self, share):
        self.path.write_text(f"some avg10={100 * share:.2f} avg60=0.00 avg300=0.00 total=0\n")


class Watched:
    """A policy and all that it is told."""

    def __init__(self, tmp_path, **settings):
        self.pressure = Pressure(tmp_path / "pressure")
        self.now = datetime(2026, 11, 26, 12, 0, tzinfo=ZoneInfo("UTC"))
        self.told, self.records = [], []
        self.permissions = Permissions(self.told.append, self.records.append)
        self.conditions = Conditions()
        self.watch = PolicyWatch(
            self.settings(**settings),
            tmp_path,
            self.permissions,
            self.conditions,
            sensors=watching.Sensors(pressure=self.pressure.path),
            clock=self.clock,
        )

    def clock(self):
        return self.now.timestamp()

    @staticmethod
    def settings(**settings):
        return PolicySettings(**{"period": 0.01, "dwell": 0.0, **settings})

    def held(self):
        return {each["name"]: each["text"] for each in self.conditions.to_values()}

    async def until_told(self, permission):
        await until(lambda: self.permissions.current == permission)


def running(test):
    """Run a test beside its watch."""

    @in_trio
    async def run(*fixtures):
        async with trio.open_nursery() as nursery:
            await test(*fixtures, nursery)
            nursery.cancel_scope.cancel()

    def collected(tmp_path, caplog, monkeypatch):
        caplog.set_level(logging.INFO)
        run(tmp_path, caplog, monkeypatch)

    collected.__doc__ = test.__doc__
    return collected


@running
async def test_a_reading_that_changes_changes_the_permission_and_the_log_says_so_once(
    tmp_path, caplog, monkeypatch, nursery
):
    watched = Watched(tmp_path, memory_pressure=0.1)
    assert watched.told == [NO_TRAINING]  # until the first check
    nursery.start_soon(watched.watch.run)
    await watched.until_told(EVERYTHING)
    assert watched.held() == {}
    watched.pressure.set(0.5)
    await watched.until_told(NO_TRAINING)
    text = "training waits: processes waited for memory for 50% of the last 10 s (at most 10%)"
    assert watched.held() == {"policy": text}
    watched.pressure.set(0.4)
    await until(lambda: "40%" in watched.held()["policy"])
    watched.pressure.set(0.097)  # within the margin
    await until(lambda: "10% of the last" in watched.held()["policy"])
    watched.pressure.set(0.05)
    await watched.until_told(EVERYTHING)
    assert watched.held() == {}
    said = [each.message for each in caplog.records if "training" in each.message]
    assert said == [text, "training goes on: all conditions of the policy hold"]
    assert [(each["trains"], each["merges"], each["reasons"]) for each in watched.records] == [
        (False, True, ["unchecked"]),
        (True, True, []),
        (False, True, ["memory_pressure"]),
        (True, True, []),
    ]


@running
async def test_hours_follow_the_clock_and_then_merges_stop_too(tmp_path, caplog, monkeypatch, nursery):
    watched = Watched(tmp_path, hours=["22:00-06:00"], timezone="Europe/Paris", merge="then")
    nursery.start_soon(watched.watch.run)
    await until(lambda: "policy" in watched.held())
    assert watched.permissions.current == NOTHING
    assert watched.held()["policy"] == ("training and merging wait: it is Thu 13:00 (allowed: 22:00-06:00)")
    watched.now += timedelta(hours=9)
    await watched.until_told(EVERYTHING)
    watched.now += timedelta(hours=8)
    await watched.until_told(NOTHING)
    assert watched.watch.to_values()["conditions"][0]["text"] == "it is Fri 06:00 (allowed: 22:00-06:00)"
    assert watched.watch.to_values()["since"] == watched.now.timestamp()


@running
async def test_the_dwell_delays_going_on_but_not_a_change_of_the_settings(
    tmp_path, caplog, monkeypatch, nursery
):
    watched = Watched(tmp_path, memory_pressure=0.1, dwell=1000.0)
    watched.pressure.set(0.5)
    nursery.start_soon(watched.watch.run)
    await until(lambda: "policy" in watched.held())
    watched.pressure.set(0.0)
    await until(lambda: "until all conditions have held for 1000 s" in watched.held()["policy"])
    assert watched.permissions.current == NO_TRAINING
    watched.watch.reload(watched.settings(memory_pressure=0.2, dwell=1000.0))
    await watched.until_told(EVERYTHING)
    watched.pressure.set(0.5)
    await watched.until_told(NO_TRAINING)
    watched.watch.reload(watched.settings())  # without a condition
    await watched.until_told(EVERYTHING)
    assert watched.held() == {}
    assert watched.watch.to_values() is None
    watched.watch.reload(watched.settings(memory_pressure=0.2, merge="then"))
    await watched.until_told(NOTHING)


@running
async def test_a_script_decides_and_what_cannot_be_read_is_named(tmp_path, caplog, monkeypatch, nursery):
    script = tmp_path / "decide"
    script.write_text(f"#!/bin/sh\ntest -e {tmp_path}/yes || {{ echo not yet; exit 1; }}\n")
    script.chmod(0o700)
    watched = Watched(tmp_path, script="decide", memory_pressure=0.1)
    nursery.start_soon(watched.watch.run)
    await until(lambda: "policy" in watched.held())
    assert watched.held() == {"policy": "training waits: decide exited with code 1: not yet"}
    (tmp_path / "yes").touch()
    await watched.until_told(EVERYTHING)
    script.unlink()
    await watched.until_told(NO_TRAINING)
    assert watched.held()["readings"].endswith("decide cannot be read: No such file or directory")
    with pytest.raises(SettingError, match=r"policy\.script: .*other cannot be read"):
        watched.watch.require_readable(watched.settings(script="other"))
    watched.watch.reload(watched.settings(memory_pressure=0.1, script="decide", unreadable="train"))
    await watched.until_told(EVERYTHING)
    assert set(watched.held()) == {"readings"}  # which says why it is not known


@running
async def test_a_sensor_that_hangs_is_unreadable_and_holds_up_nothing(tmp_path, caplog, monkeypatch, nursery):
    goes_on, started, run = threading.Event(), [], watching.run_abandonable

    async def counted(work):
        started.append(work)
        await run(work)

    monkeypatch.setattr(watching, "run_abandonable", counted)
    monkeypatch.setattr(watching, "_READ_SECONDS", 0.05)

    class Hanging:
        def read(self, wanted, into):
            assert goes_on.wait(60)

    watched = Watched(tmp_path, memory_pressure=0.1)
    watched.watch.sensors = Hanging()
    try:
        nursery.start_soon(watched.watch.run)
        await until(lambda: "readings" in watched.held())
        assert watched.held()["readings"] == (
            "memory_pressure cannot be read: nothing answered within 0.05 s"
        )
        watched.watch.reload(watched.settings(memory_pressure=0.1, hours=["00:00-24:00"]))
        await until(lambda: len(watched.watch.to_values()["conditions"]) == 2)
        assert len(started) == 1  # no second one while the first hangs
    finally:
        goes_on.set()
    watched.watch.sensors = watching.Sensors(pressure=watched.pressure.path)
    await watched.until_told(EVERYTHING)


def test_the_operators_pause_has_precedence():
    told, records = [], []
    permissions = Permissions(told.append, records.append)
    permissions.obey(NO_TRAINING, ("battery",))
    permissions.pause()
    permissions.obey(EVERYTHING)
    assert permissions.current == NOTHING
    permissions.obey(NO_TRAINING, ("hours",))
    permissions.resume()
    permissions.resume()
    permissions.obey(EVERYTHING)
    assert told == [NO_TRAINING, NOTHING, NO_TRAINING, EVERYTHING]
    assert [each["reasons"] for each in records] == [["battery"], ["paused", "battery"], ["hours"], []]
