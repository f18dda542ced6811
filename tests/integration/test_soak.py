"""A network of peers under faults and hostile dialling: nothing leaks, all learn, and every record can be read."""

import itertools
import resource
import signal
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import psutil
import pytest
import torch

from gossipfl.consensus import consensus_distance
from gossipfl.peer import Home, read_records
from gossipfl.peer.store.checkpoint import read_row
from gossipfl.tasks import find_task
from gossipfl.training import Nodes

from .besieged import Process, home_of
from .hostile_inputs import CASES
from .peers import TASK
from .replayer import replay
from .test_crowd import wait

STEADY, RESTARTED, CHANGING = range(3)
ATTACKERS = {STEADY: 2, RESTARTED: 1, CHANGING: 1}

SERVING = "gossipfl.network.serving.Server.serve"  # one for each stream that the other side opened
STREAMS_OF_A_CONNECTION = 8  # that are kept open for the next exchanges
TASKS_OF_A_CONNECTION = 6  # besides
TRANSIENT = 4  # tasks and descriptors of whatever is under way at any moment
MOST_THREADS = 15  # a few a peer, kept for ten seconds
MOST_GROWTH = 0.05  # of resident memory


def name_alike(task: str) -> str:
    """One name for the tasks of connections, whichever side dialled."""
    return "connection" if task.endswith(("Host._run", "_accept_for_ever.<locals>.run")) else task


@dataclass
class Held:
    """What a process holds at least at any moment of a quiet time."""

    resident: float
    descriptors: int
    threads: int
    tasks: Counter[str]
    connections: int

    @classmethod
    def least(cls, reports) -> "Held":
        def least(of):
            return min(map(of, reports))

        seen = [Counter(map(name_alike, each["tasks"].elements())) for each in reports]
        return cls(
            resident=least(lambda each: each["resident"]),
            descriptors=least(lambda each: each["descriptors"]),
            threads=least(lambda each: each["threads"].total()),
            tasks=reduce(Counter.__and__, seen),
            connections=max(each["connected"].total() for each in reports),
        )

    def is_no_more_than(self, before: "Held") -> None:
        more = max(0, self.connections - before.connections)
        new = self.tasks - before.tasks
        del new[SERVING]
        assert self.tasks[SERVING] <= STREAMS_OF_A_CONNECTION * self.connections
        assert new.total() <= TASKS_OF_A_CONNECTION * more + TRANSIENT, new
        assert self.descriptors <= before.descriptors + more + TRANSIENT
        assert self.threads <= MOST_THREADS
        assert self.resident <= (1 + MOST_GROWTH) * before.resident

    def __str__(self) -> str:
        return (
            f"{self.resident / 1e6:.1f} MB, {self.descriptors} descriptors, {self.threads} threads, "
            f"{self.tasks.total()} tasks, {self.connections} connections"
        )


class Soak:
    """Three processes: one that is only attacked, one that dies and freezes, and one whose peers come and go."""

    def __init__(self, directory) -> None:
        self.directory = directory
        self.members = {STEADY: [0, 1], RESTARTED: [2, 3], CHANGING: [4, 5]}
        self.processes: dict[int, Process] = {}
        self.bootstrap: list[str] = []
        self.samples: list[tuple[float, dict[int, int]]] = []
        self.faults: Counter[str] = Counter()
        self.began: dict[str, float] = {}  # when each fault first happened
        self.newest = 5

    def launch(self, number: int) -> None:
        process = self.processes[number] = Process(self.directory, number)
        if not self.bootstrap:
            process.ask("start", 0, [])
            process.ask("start_alone")
            self.bootstrap = wait(lambda: self.report(number)["peers"].get(0, {}).get("addresses"))
        for index in self.members[number]:
            if index:
                process.ask("start", index, self.bootstrap)

    def report(self, number: int) -> dict:
        return self.processes[number].ask("report")

    def sample(self) -> dict[int, dict]:
        reports = {number: self.report(number) for number in self.processes}
        self.samples.append(
            (time.monotonic(), {number: each["resident"] for number, each in reports.items()})
        )
        return reports

    def all_ready(self) -> bool:
        return all(
            set(self.report(number)["peers"]) == set(members) for number, members in self.members.items()
        )

    def all_tried(self) -> bool:
        """Whether every hostile input was tried, and has met with its refusal."""
        tried = self.report(STEADY)
        return set(tried["attempts"]) == {each.what for each in CASES} and set(tried["refused"]) >= {
            each.counter for each in CASES if each.error
        }

    def pause(self, seconds: float) -> None:
        """Look at all processes now and then."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            self.sample()
            time.sleep(1.0)

    # Faults

    def kill_and_restart(self) -> None:
        self.processes[RESTARTED].kill()
        time.sleep(2.0)
        self.launch(RESTARTED)
        wait(self.all_ready)
        self.processes[RESTARTED].ask("besiege", 1)

    def freeze(self) -> None:
        pid = self.processes[RESTARTED].pid
        psutil.Process(pid).send_signal(signal.SIGSTOP)
        time.sleep(4.0)
        psutil.Process(pid).send_signal(signal.SIGCONT)

    def cut_connections(self) -> None:
        for number in (STEADY, CHANGING):
            self.processes[number].ask("cut")

    def leave_and_join(self) -> None:
        self.newest += 1
        members = self.members[CHANGING]
        self.processes[CHANGING].ask("stop", members.pop(0))
        members.append(self.newest)
        self.processes[CHANGING].ask("start", self.newest, self.bootstrap)
        wait(self.all_ready)

    def set_the_clock(self) -> None:
        self.processes[CHANGING].ask("set_clock", 3600.0)
        self.pause(3.0)
        self.processes[CHANGING].ask("set_clock", 0.0)

    def refuse_writes(self) -> None:
        """No file grows in that process for some seconds: each write fails, as on a full disk."""
        pid = self.processes[CHANGING].pid
        limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, limits[1]))
        wait(lambda: all("disk" in peer["conditions"] for peer in self.report(CHANGING)["peers"].values()))
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
        wait(
            lambda: (
                not any(
                    {"disk", "records"} & set(peer["conditions"])
                    for peer in self.report(CHANGING)["peers"].values()
                )
            )
        )

    FAULTS = (kill_and_restart, freeze, cut_connections, leave_and_join, refuse_writes, set_the_clock)

    def suffer(self, seconds: float) -> None:
        """Be attacked without a pause, and meet with one fault after the other."""
        ends = time.monotonic() + seconds
        for number, process in self.processes.items():
            process.ask("besiege", ATTACKERS[number])
        for fault in itertools.cycle(self.FAULTS):
            self.pause(min(5.0, ends - time.monotonic()))
            if time.monotonic() >= ends:
                break
            self.began.setdefault(fault.__name__, time.time())
            fault(self)
            self.faults[fault.__name__] += 1

    def quiet(self) -> dict[int, Held]:
        """What each process holds once nobody attacks it, and its peers are connected with each other alone."""
        for process in self.processes.values():
            process.ask("relieve")

        def among_themselves() -> bool:
            reports = self.sample()
            ids = {peer["peer_id"] for each in reports.values() for peer in each["peers"].values()}
            return all(set(each["connected"]) == ids for each in reports.values())

        wait(among_themselves)
        seen = [self.sample() for _ in range(10) if not time.sleep(1.0)]
        return {number: Held.least([each[number] for each in seen]) for number in self.processes}

    def end(self) -> None:
        for process in self.processes.values():
            process.end()
            assert process.process.exitcode == 0
            assert process.err.read_text() == ""

    def homes(self) -> list[Home]:
        return [Home(home_of(self.directory, index)) for index in range(self.newest + 1)]


@contextmanager
def soak(directory):
    under_way = Soak(directory)
    try:
        for number in under_way.members:
            under_way.launch(number)
        wait(under_way.all_ready)
        yield under_way
    finally:
        for process in under_way.processes.values():
            process.kill()


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(100, marks=[pytest.mark.early, pytest.mark.timeout(900)]),
        pytest.param(1800, marks=[pytest.mark.slow, pytest.mark.timeout(3600)]),
    ],
)
def test_peers_under_faults_and_hostile_dialling_leak_nothing_and_learn(tmp_path, seconds):
    with soak(tmp_path) as under_way:
        under_way.suffer(seconds / 3)  # caches and tables fill
        warm = under_way.quiet()
        began = len(under_way.samples)
        under_way.suffer(2 * seconds / 3)
        wait(under_way.all_tried)
        held = under_way.quiet()
        reports = under_way.sample()
        under_way.end()
    slopes = {number: slope(under_way.samples[began:], number) for number in (STEADY, CHANGING)}
    distance = relative_distance(under_way, reports)
    accuracies = [peer["accuracy"] for each in reports.values() for peer in each["peers"].values()]
    attempts = sum((each["attempts"] for each in reports.values()), Counter())
    for number in (STEADY, CHANGING):
        print(
            f"process {number}: {warm[number]}, then {held[number]}; {slopes[number] / 1e6:+.1f} MB an hour"
        )
    print(
        f"{dict(under_way.faults)}; {attempts.total()} hostile attempts of {len(attempts)} kinds in the processes "
        f"that are left; accuracy from {min(accuracies):.2f}; consensus distance {distance:.1e} "
        f"of their mean's square"
    )
    assert not [each for report in reports.values() for each in report["tracebacks"]]
    for number in (STEADY, CHANGING):
        held[number].is_no_more_than(warm[number])
    assert min(accuracies) >= 0.9
    assert distance <= 0.05
    assert events_replayed_until(under_way, under_way.began["refuse_writes"]) > 100


def slope(samples, number: int) -> float:
    """Growth of a process in bytes an hour, by least squares."""
    seconds, resident = zip(*((at, each[number]) for at, each in samples), strict=True)
    return float(3600 * np.polyfit(np.array(seconds) - seconds[0], resident, 1)[0])


def relative_distance(under_way: Soak, reports) -> float:
    """Consensus distance of the models that the peers left, relative to the square of their mean."""
    members = [index for each in reports.values() for index in each["peers"]]
    rows = torch.stack([read_row(under_way.homes()[index].checkpoint)[0] for index in members])
    size = find_task(TASK).layout.shared_size
    return consensus_distance(rows, size) / float(rows[:, :size].mean(dim=0).square().sum())


def events_replayed_until(under_way: Soak, moment: float) -> int:
    """Read all records; replay what was recorded before a moment, hostile models included, bit for bit."""
    for home in under_way.homes():
        records = read_records(home.records)
        assert records["kind"][0] == "start"
        assert records["kind"][-1] == "saved"
    return len(replay(under_way.homes(), until=moment, of_strangers=constant_model))


def constant_model(record) -> Nodes:
    """Return what every hostile model that is merged consists of."""
    row = torch.full((1, find_task(TASK).layout.size), 0.5)
    return replace(Nodes.start(row, optimiser_state_size=0), ages=torch.tensor([record["sender_age"]]))
