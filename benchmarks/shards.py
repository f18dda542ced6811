"""Cost of a simulation in shards: bytes and seconds a round at K = 1, 2, 4, and a model of it for more machines.

    OMP_NUM_THREADS=1 python -m benchmarks.shards [--shards 1 2 4] [--side 32] [--rounds 10] [--repeats 5] [--algorithm d_psgd]

D-PSGD, or gossip learning with messages that take half a period, on a torus of side × side nodes, each with a perceptron of 9,610 numbers that
does a step on 32 samples a round. Shards are actors of a Ray cluster on this machine, or of --on, of one thread each. Seconds are those of
processor time of an actor's process, the most of all, and the least of the repeats: several actors share this machine's cores, and machines of
a cluster would not. All crews are there at once and take turns, so that all K meet the same load.

The model of a round: N/K · c / f + m · a + s · b + t · i. c: seconds of a node, found with one shard. f: how full blocks are, as a share of what they
are with one shard. a, b: seconds of a message that an actor sends (and gets), and of a byte, found with two actors that do nothing but exchange rows,
at the pace of rounds. i: seconds a second of an actor that does nothing, which Ray's own threads take; t: seconds of a round by the clock. Seconds of
waiting on a network come on top: m · latency + bytes / bandwidth.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from gossipfl.tasks import Dataset, Task
from sims.cluster.ray_cluster import connected
from sims.scenario import Scenario, parse_scenario
from sims.sharding.post import Key, Post, Rows
from sims.sharding.ray_crew import RayCrew
from sims.sharding.shard import ShardReport
from sims.sharding.sharded import Sharded
from sims.sharding.start import sharded
from sims.world import build_world

SIZE = 64 * 128 + 128 + 128 * 10 + 10
PAUSE = 0.05  # seconds between two exchanges of actors that do nothing else: of the order of a round
SCENARIO = """
[task]
name = "benchmarks.shards:patterns"
[training]
batch_size = 32
learning_rate = 0.05
"""


def patterns(*, nodes: int = 1024) -> Task:
    """64 samples of random numbers a node, in ten classes, for a perceptron."""

    def data() -> Dataset:
        generator = torch.Generator().manual_seed(1)
        inputs, targets = torch.randn(64 * nodes, 64, generator=generator), torch.arange(64 * nodes) % 10
        return Dataset(
            train_inputs=inputs, train_targets=targets, test_inputs=inputs[:64], test_targets=targets[:64]
        )

    def model() -> nn.Module:
        return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))

    return Task(name="patterns", model=model, data=data)


class Exchanger:
    """An actor that only exchanges rows."""

    def __init__(self, number: int) -> None:
        self._post, self._delivers = Post(number, self._hand), list[Any]()
        self._number = number

    def meet(self, others: list[Any]) -> None:
        """Take note of the actors."""
        options = {"concurrency_group": "post", "num_returns": 0}
        self._delivers = [each.deliver.options(**options).remote for each in others]
        self._post.begin(1)

    def deliver(self, key: Key, rows: Rows) -> None:
        """Take in rows."""
        self._post.deliver(key, rows)

    def idle(self, seconds: float) -> float:
        """Do nothing for so long; return seconds of processor time of each."""
        started = time.process_time()
        time.sleep(seconds)
        return (time.process_time() - started) / seconds

    def exchange(self, rows: int, times: int) -> tuple[float, float]:
        """Exchange so many rows so many times, with pauses; return seconds of each, of the processor and by the clock."""
        sent = np.zeros((rows, SIZE), dtype=np.float32)
        started, clock = time.process_time(), time.perf_counter()
        for _ in range(times):
            other = 1 - self._number
            found = self._post.exchanged([(other, (sent.copy(),))], [other])
            sent[:] = found[other][0]
            time.sleep(PAUSE)
        return (time.process_time() - started) / times, (time.perf_counter() - clock) / times

    def _hand(self, receiver: int, key: Key, rows: Rows) -> None:
        self._delivers[receiver](key, rows)


def main() -> None:
    """Measure, and print what the model says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--algorithm", default="d_psgd")
    parser.add_argument("--on", default="ray")
    chosen = parser.parse_args()
    os.environ.setdefault("RAY_worker_niceness", "0")
    scenario = scenario_of(chosen.side, chosen.rounds * chosen.repeats, chosen.algorithm)
    world, nodes = build_world(scenario), scenario.population.nodes
    with connected(chosen.on, cpus=sum(chosen.shards)) as ray:  # all crews are there at once
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {chosen.algorithm}", flush=True)
        a, b, i = costs_of_messages(ray)
        print(
            f"a = {1e3 * a:.2f} ms a message, b = {1e9 * b:.2f} ns a byte, i = {1e3 * i:.1f} ms a second",
            flush=True,
        )
        crews = {}
        for shards in chosen.shards:
            crews[shards] = sharded(
                scenario,
                world,
                shards=shards,
                compile_when="never",
                crew=lambda task, world: RayCrew(task, ray),
            )
            crews[shards].advance(3, between=lambda: False)  # traces are made in the first
        turns: dict[int, list[Turn]] = {shards: [] for shards in crews}
        for repeat in range(chosen.repeats):
            for shards, made in crews.items():
                turns[shards].append(turn_of(made, 3 + chosen.rounds * (repeat + 1), chosen.rounds))
        print(f"load {os.getloadavg()[0]:.1f}", flush=True)
        first: Turn | None = None
        for shards, every in turns.items():
            least = min(every, key=lambda turn: turn.busy)
            first = first or least
            c = (first.busy - i * first.wall) / nodes * chosen.shards[0]
            full = least.full / first.full if first.full else 1.0
            parts = nodes / shards * c / full, least.messages * a, least.bytes * b, i * least.wall
            partition = crews[shards].partition
            print(
                f"K = {shards}: {least.bytes / 1e6:.2f} MB and {least.messages:.1f} messages a round from the shard with "
                f"most, blocks {full:.0%} full, {1e3 * least.busy:.0f} ms of its processor (model "
                f"{' + '.join(f'{1e3 * part:.1f}' for part in parts)} = {1e3 * sum(parts):.0f} ms, ratio "
                f"{least.busy / sum(parts):.2f}), {1e3 * least.wall:.0f} ms by the clock, "
                f"{partition.cut / partition.links:.1%} of the links cut",
                flush=True,
            )
            crews[shards].close()


def scenario_of(side: int, rounds: int, algorithm: str) -> Scenario:
    """The scenario, without evaluations."""
    messages = (
        "[network]\ndelay = { kind = 'constant', seconds = 0.5 }" if algorithm == "gossip_learning" else ""
    )
    return parse_scenario(
        SCENARIO + messages,
        overrides=[
            f"task.options={{nodes={side * side}}}",
            f"population.nodes={side * side}",
            f"topology={{name='torus',shape=[{side},{side}]}}",
            f"algorithm={{name='{algorithm}'}}",
            f"stop.rounds={100 * rounds}",
        ],
    )


def costs_of_messages(ray: ModuleType) -> tuple[float, float, float]:
    """Seconds of processor time of a message and of a byte, and of a second in which nothing is done."""
    made = ray.remote(concurrency_groups={"post": 1})(Exchanger).options(
        num_cpus=0.1, enable_task_events=False
    )
    both = [made.remote(number) for number in range(2)]
    ray.get([each.meet.remote(both) for each in both])
    ray.get([each.exchange.remote(64, 5) for each in both])
    idle = min(min(ray.get([each.idle.remote(3.0) for each in both])) for _ in range(3))

    def of(rows: int) -> float:
        every = [ray.get([each.exchange.remote(rows, 40) for each in both]) for _ in range(3)]
        return float(min(max(busy - idle * clock for busy, clock in turn) for turn in every))

    small, large = of(1), of(64)
    for each in both:
        ray.kill(each)
    byte = (large - small) / (63 * SIZE * 4)
    return small - byte * SIZE * 4, byte, idle


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Some rounds of a crew: seconds, bytes and messages of a round, of the shard with most; updates in a block."""

    busy: float
    wall: float
    bytes: float
    messages: float
    full: float


def turn_of(made: Sharded, until: int, rounds: int) -> Turn:
    """Do so many rounds."""
    before, started = made.reports, time.perf_counter()
    counted = [(each.phases.updates, each.phases.blocks) for each in before]
    made.advance(until, between=lambda: False)
    wall, after = time.perf_counter() - started, made.reports
    updates = sum(each.phases.updates for each in after) - sum(each for each, _ in counted)
    blocks = sum(each.phases.blocks for each in after) - sum(each for _, each in counted)

    def most(of: Callable[[ShardReport], float]) -> float:
        return max((of(new) - of(old)) / rounds for new, old in zip(after, before, strict=True))

    return Turn(
        busy=most(lambda report: report.busy),
        wall=wall / rounds,
        bytes=most(lambda report: report.sent),
        messages=most(lambda report: report.messages),
        full=updates / blocks if blocks else 0.0,
    )


if __name__ == "__main__":
    main()
