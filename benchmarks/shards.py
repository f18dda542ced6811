"""Cost of a simulation in shards: bytes and seconds a round at K = 1, 2, 4, and a model of it for more machines.

    OMP_NUM_THREADS=1 python -m benchmarks.shards [--shards 1 2 4] [--side 32] [--rounds 10] [--repeats 5] [--algorithm d_psgd]

D-PSGD, or gossip learning with messages that take half a period, on a torus of side × side nodes, each with a perceptron of 9,610 numbers that
does a step on 32 samples a round. Shards are actors of a Ray cluster on this machine, or of --on, of one thread each. Seconds are those of
processor time of an actor, the most of all, and the least of the repeats: several actors share this machine's cores, and machines of a cluster would not.

The model of a round: N/K · c + m · (a + s · b), with c seconds of a node, found with one shard; m messages of s bytes that an actor sends (and
gets); a and b seconds of a message and of its bytes, found with two actors that do nothing but exchange rows. Seconds of waiting on a network
come on top: m · latency + bytes / bandwidth.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
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
        self._post, self._others = Post(number, self._hand), list[Any]()
        self._number = number

    def meet(self, others: list[Any]) -> None:
        """Take note of the actors."""
        self._others = others
        self._post.begin(1)

    def deliver(self, key: Key, rows: Rows) -> None:
        """Take in rows."""
        self._post.deliver(key, rows)

    def exchange(self, rows: int, times: int) -> float:
        """Exchange so many rows so many times; return seconds of processor time of each."""
        sent = np.zeros((rows, SIZE), dtype=np.float32)
        started = time.process_time()
        for _ in range(times):
            other = 1 - self._number
            found = self._post.exchanged({other: (sent.copy(),)}, [other])
            sent[:] = found[other][0]
        return (time.process_time() - started) / times

    def _hand(self, receiver: int, key: Key, rows: Rows) -> None:
        self._others[receiver].deliver.options(concurrency_group="post").remote(key, rows)


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
    with connected(chosen.on, cpus=max(chosen.shards)) as ray:
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {chosen.algorithm}", flush=True)
        small = min(exchanged(ray, 1, 100) for _ in range(3))
        large = min(exchanged(ray, 64, 40) for _ in range(3))
        b = (large - small) / (63 * SIZE * 4)
        a = small - b * SIZE * 4
        print(f"a = {1e6 * a:.0f} µs a message, b = {1e9 * b:.2f} ns a byte", flush=True)
        c = 0.0
        for shards in chosen.shards:
            scenario = scenario_of(chosen.side, chosen.rounds, chosen.algorithm)
            measured = measure(ray, scenario, shards, chosen.rounds, chosen.repeats)
            nodes = scenario.population.nodes
            c = c or measured["busy"] / nodes * shards
            model = nodes / shards * c + measured["messages"] * a + measured["bytes"] * b
            print(
                f"K = {shards}: {measured['bytes'] / 1e6:.2f} MB and {measured['messages']:.1f} messages a round "
                f"from the shard with most, {1e3 * measured['busy']:.0f} ms of its processor "
                f"(model {1e3 * model:.0f} ms, ratio {measured['busy'] / model:.2f}), "
                f"{1e3 * measured['wall']:.0f} ms by the clock, {measured['cut']:.1%} of the links cut",
                flush=True,
            )


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


def exchanged(ray: ModuleType, rows: int, times: int) -> float:
    """Seconds of processor time of an exchange of rows between two actors, of the busier of them."""
    made = ray.remote(concurrency_groups={"post": 1})(Exchanger).options(num_cpus=0.1)
    both = [made.remote(number) for number in range(2)]
    ray.get([each.meet.remote(both) for each in both])
    ray.get([each.exchange.remote(rows, 5) for each in both])
    found = ray.get([each.exchange.remote(rows, times) for each in both])
    for each in both:
        ray.kill(each)
    return float(max(found))


def measure(ray: ModuleType, scenario: Scenario, shards: int, rounds: int, repeats: int) -> dict[str, float]:
    """Cost of a round, the least of repeats, after three that are not counted: traces are made in the first."""
    world = build_world(scenario)
    made = sharded(
        scenario, world, shards=shards, compile_when="never", crew=lambda task, world: RayCrew(task, ray)
    )
    assert isinstance(made, Sharded)
    made.advance(3, between=lambda: False)
    chunks, done = [], 3
    for _ in range(repeats):
        before, started = made.reports, time.perf_counter()
        done += rounds
        made.advance(done, between=lambda: False)
        wall = time.perf_counter() - started

        def most(of: Callable[[ShardReport], float], before: list[ShardReport] = before) -> float:
            return max((of(new) - of(old)) / rounds for new, old in zip(made.reports, before, strict=True))

        chunks.append(
            {
                "busy": most(lambda report: report.busy),
                "bytes": most(lambda report: report.sent),
                "messages": most(lambda report: report.messages),
                "wall": wall / rounds,
                "cut": made.partition.cut / made.partition.links,
            }
        )
    made.close()
    return {**chunks[0], **{name: min(each[name] for each in chunks) for name in ("busy", "wall")}}


if __name__ == "__main__":
    main()
