"""An hour of eight honest digits peers that come, go, and differ in pace: none of their models is refused."""

import os
import shutil
import time
from collections import Counter

import pytest

from gossipfl.peer import read_status
from gossipfl.peer.store.backup import back_up
from gossipfl.peer.store.restoring import restore

from .gate_networks import digits_settings
from .peers import PeerProcess, record_lines

SECONDS = float(os.environ.get("GOSSIPFL_GATE_SECONDS", "3600"))

#: Seconds between the exchanges that each peer starts, and merges between its trainings.
PERIODS = (0.25, 2.0, 2.0, 3.0, 4.0, 8.0, 25.0, 2.0)
MERGES_PER_TRAINING = (1, 1, 1, 1, 2, 5, 50, 1)

#: Who does what when, in seconds of an hour; a newcomer is a new identity at age 0 with the data of that number.
SCHEDULE = (
    (300, "start", 7),
    (600, "stop", 3),
    (720, "start", 3),
    (840, "stop", 4),  # for more than ten minutes
    (1000, "back up", 5),
    (1600, "start", 4),
    (1700, "restore", 5),
    (1800, "kill", 6),
    (1860, "start", 6),
    (2000, "stop", 1),
    (2060, "replace", 1),
    *((2400, "stop", each) for each in (1, 2, 4, 5, 6, 7)),  # two are left
    *((2700, "start", each) for each in (1, 2, 4, 5, 6, 7)),
    (2900, "stop", 0),  # the fastest
    (3060, "start", 0),
    (3200, "replace", 7),
)


class Cast:
    """Peers by number, and the homes of all there were."""

    def __init__(self, directory):
        self.directory = directory
        self.peers: dict[int, PeerProcess] = {}
        self.homes = []
        self.quarantines = Counter()
        self.addresses = []

    def enter(self, index, name):
        settings = digits_settings(
            index,
            bootstrap=self.addresses,
            training={"decay_age": 6000},
            exchange={
                "period": PERIODS[index],
                "merges_per_training": MERGES_PER_TRAINING[index],
                "patience": max(5.0, PERIODS[index]),
            },
            view={"period": 5.0},
            network={"silence_seconds": 30.0},
            checkpoint={"period": 10.0},
            evaluation={"period": 30.0},
        )
        peer = self.peers[index] = PeerProcess(self.directory / name, settings, forked=True)
        self.homes.append(peer.home)
        self.start(index)
        status = peer.until_at(event=0)
        self.addresses = self.addresses or status["addresses"]

    def start(self, index):
        self.peers[index].start("--plain")

    def stop(self, index):
        self.peers[index].process.terminate()
        self.peers[index].process.wait(timeout=120)

    def do(self, action, index):
        backup = self.directory / f"backup-{index}.tar.gz"
        match action:
            case "start" if index not in self.peers:
                self.enter(index, f"peer-{index}")
            case "start":
                self.start(index)
            case "stop":
                self.stop(index)
            case "kill":
                self.peers[index].process.kill()
                self.peers[index].process.wait(timeout=60)
            case "replace":
                self.stop(index)
                self.enter(index, f"newcomer-{index}")
            case "back up":
                back_up(self.peers[index].home, backup)
            case "restore":
                self.do("kill", index)
                home = self.peers[index].home
                lost = home.directory.with_name(f"lost-{index}")
                home.directory.rename(lost)
                restore(backup, home.directory)
                kept = {each.name for each in home.records.iterdir()}
                for each in (lost / "records").glob("*.jsonl"):  # so that everything is counted once
                    if (
                        each.name not in kept
                        or each.stat().st_size > (home.records / each.name).stat().st_size
                    ):
                        shutil.copy(each, home.records / each.name)
                self.start(index)

    def statuses(self):
        return [read_status(each.home.status) for each in self.peers.values() if each.home.status.exists()]

    def watch(self):
        for status in self.statuses():
            for sender in (status["gate"] or {}).get("quarantined", ()):
                self.quarantines[sender] += 1

    def end(self):
        for peer in self.peers.values():
            peer.process.terminate()
        for peer in self.peers.values():
            peer.process.wait(timeout=120)


@pytest.fixture(scope="module")
def hour(tmp_path_factory):
    """The cast after the schedule, with the statuses of the last moment."""
    cast = Cast(tmp_path_factory.mktemp("hour"))
    scale = SECONDS / 3600
    try:
        for index in range(7):
            cast.enter(index, f"peer-{index}")
        began = time.monotonic()
        schedule = [(at * scale, action, index) for at, action, index in SCHEDULE]
        while (now := time.monotonic() - began) < SECONDS:
            while schedule and schedule[0][0] <= now:
                _, action, index = schedule.pop(0)
                cast.do(action, index)
            cast.watch()
            time.sleep(min(5.0, SECONDS / 100))
        assert not schedule
        cast.last = cast.statuses()
    finally:
        cast.end()
    return cast


def row_of(home):
    lines = record_lines(home)
    merges = [each for each in lines if each["kind"] in ("merge", "adopt")]
    refusals = Counter(each["reason"] for each in lines if each["kind"] == "refusal")
    changed = Counter(each["gate"] for each in merges if "gate" in each)
    outcomes = Counter(each["outcome"] for each in lines if each["kind"] == "exchange")
    starts = sum(each["kind"] == "start" for each in lines)
    trained = sum(bool(each.get("trained")) for each in lines)
    went_back = sum(each["kind"] == "go_back" for each in lines)
    seconds = lines[-1]["time"] - lines[0]["time"]
    return {
        "home": home.directory.name,
        "starts": starts,
        "trained": trained,
        "a minute": round(60 * trained / seconds, 1),
        "merged": len(merges),
        "credited": sum(each["credited_age"] < each["sender_age"] for each in merges if "gate" in each),
        "changed": dict(changed),
        "refused": dict(refusals),
        "went back": went_back,
        "exchanges": dict(outcomes),
    }


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 600)
def test_no_honest_merge_is_refused(hour):
    rows = [row_of(home) for home in hour.homes]
    for row in rows:
        print(row)
    for status in hour.last:
        print(status["event"], status["age"], status["metrics"], status["gate"], status["network"]["refused"])
    total = sum(row["merged"] for row in rows)
    print("merges", total, "clipped", sum(row["changed"].get("far", 0) for row in rows))
    assert total > SECONDS
    assert not hour.quarantines
    assert [row["refused"] for row in rows if row["refused"]] == []
    assert [row["went back"] for row in rows if row["went back"]] == []
