"""This project's simulator on the workloads of `workloads`, timed as a whole and by phase.

python benchmarks/simulator_contestants/ours.py W1 1000 100 --evaluate-every 10
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import nn
from workloads import DEGREE, HIDDEN, RATE, SEED, digits, report

from gossipfl.tasks import Dataset, Task
from sims.compiler.timeline import TICKS_PER_SECOND, Timeline, conditions_of
from sims.engine import Engine
from sims.metrics.evaluation import Evaluator
from sims.scenario import parse_scenario
from sims.world import build_world
from sims.world.networks import neighbour_lists

SCENARIO = """
seed = {seed}
[population]
nodes = {nodes}
[task]
name = "ours:workload"
options = {{ name = "{workload}" }}
samples_per_node = {samples}
[topology]
name = "random_regular"
degree = {degree}
[algorithm]
name = "gossip_learning"
weighting = "plain"
[training]
learning_rate = {rate}
enabled = {train}
[evaluate]
nodes = {measured}
"""


def workload(name):
    """W1 or W2 as a task."""
    inputs, targets, test_inputs, test_targets = (torch.from_numpy(array) for array in digits())
    models = {
        "W1": lambda: nn.Linear(64, 10),
        "W2": lambda: nn.Sequential(nn.Linear(64, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 10)),
    }
    dataset = Dataset(
        train_inputs=inputs, train_targets=targets, test_inputs=test_inputs, test_targets=test_targets
    )
    return Task(name=name, model=models[name], data=lambda: dataset)


class Stopwatch:
    """Seconds spent in calls of chosen methods."""

    def __init__(self):
        self.seconds = {}

    def watch(self, owner, method, name):
        inner = getattr(owner, method)
        self.seconds[name] = 0.0

        def timed(*arguments):
            started = time.perf_counter()
            result = inner(*arguments)
            self.seconds[name] += time.perf_counter() - started
            return result

        return timed


class Contestant:
    """One workload, set up and warm."""

    def __init__(self, workload, nodes, *, threads, compile_when, train=True, measured=None, device="cpu"):
        samples = 14 if nodes <= 100 else 20
        text = SCENARIO.format(
            seed=SEED, nodes=nodes, workload=workload, samples=samples, degree=DEGREE, rate=RATE,
            train=str(train).lower(), measured=measured or nodes,
        )  # fmt: skip
        scenario = parse_scenario(text)
        self.world = build_world(scenario)
        indptr, indices = neighbour_lists(scenario)
        conditions = conditions_of(
            scenario, indptr=indptr, indices=indices, message_bytes=self.world.message_bytes
        )
        self.timeline = Timeline(conditions)
        self.engine = Engine(self.world, compile_when=compile_when, threads=threads, device=device)
        self.evaluator = Evaluator(self.world, expected_rows=0, compile_when=compile_when, threads=threads)
        self.rounds = 0
        self.evaluating = 0.0
        self.accuracy = float("nan")

    def go(self, rounds, evaluate_every):
        """Simulate rounds, evaluating now and then."""
        end = self.rounds + rounds
        while self.rounds < end:
            self.rounds = min(end, self.rounds + (evaluate_every or rounds))
            for _ in self.engine.follow(self.timeline, self.rounds * TICKS_PER_SECOND):
                pass
            if evaluate_every:
                started = time.perf_counter()
                rows, nodes = self.engine.rows(), self.evaluator.nodes
                self.accuracy = float(
                    self.evaluator(rows if len(nodes) == len(rows) else rows[nodes])["accuracy"].mean()
                )
                self.evaluating += time.perf_counter() - started


def shares(workload, nodes, rounds, *, compile_when):
    """Share of the time without evaluation that goes to each phase, on one thread."""
    contestant = Contestant(workload, nodes, threads=1, compile_when=compile_when)
    contestant.go(3, 0)
    engine, watch = contestant.engine, Stopwatch()
    engine._batches = watch.watch(engine, "_batches", "gather batches")
    programme = next(iter(engine._programmes.values()))
    inner = programme._runs[0]
    spent = {"merge and gradient": 0.0, "scatter rows": 0.0}

    def computed(*arguments):
        started = time.perf_counter()
        result = inner(*arguments)
        spent["merge and gradient"] += time.perf_counter() - started
        return result

    programme._runs = [computed]
    write = type(engine.table).write

    def written(table, *arguments):
        started = time.perf_counter()
        write(table, *arguments)
        spent["scatter rows"] += time.perf_counter() - started

    type(engine.table).write = written
    phases = engine.phases
    phases.waves = phases.prepare = phases.execute = 0.0
    started = time.perf_counter()
    contestant.go(rounds, 0)
    total = time.perf_counter() - started
    type(engine.table).write = write
    merge = merge_alone(workload, nodes, rounds, compile_when=compile_when)
    parts = {
        "timeline": total - phases.waves - phases.prepare - phases.execute,
        "waves and blocks": phases.waves + phases.prepare,
        "gather batches": watch.seconds["gather batches"],
        "gather rows and merge": min(merge, spent["merge and gradient"]),
        "gradient": max(0.0, spent["merge and gradient"] - merge),
        "scatter rows": spent["scatter rows"],
    }
    parts["python"] = total - sum(parts.values())
    return {name: round(seconds / total, 3) for name, seconds in parts.items()}


def merge_alone(workload, nodes, rounds, *, compile_when):
    """Seconds of the same run's block programmes without training."""
    contestant = Contestant(workload, nodes, threads=1, compile_when=compile_when, train=False)
    contestant.go(3, 0)
    programme = next(iter(contestant.engine._programmes.values()))
    inner, spent = programme._runs[0], [0.0]

    def computed(*arguments):
        started = time.perf_counter()
        result = inner(*arguments)
        spent[0] += time.perf_counter() - started
        return result

    programme._runs = [computed]
    contestant.go(rounds, 0)
    return spent[0]


def merging(workload, nodes, rounds):
    """Bytes of rows a second that merging alone reads and writes on a card, by its own clock.

    An update reads two rows and writes one, and another where a message starts that it is kept for.
    """
    contestant = Contestant(
        workload, nodes, threads=1, compile_when="always", train=False, measured=1000, device="cuda"
    )
    contestant.go(3, 0)
    engine, row = contestant.engine, contestant.engine.table.rows.shape[1] * 4
    began, ended, moved = [], [], [0]
    programme, write = next(iter(engine._programmes.values())), type(engine.table).write
    inner = programme._runs[0]

    def computed(*arguments):
        began.append(torch.cuda.Event(enable_timing=True))
        began[-1].record()
        return inner(*arguments)

    def written(table, columns, numbers, outcome):
        write(table, columns, numbers, outcome)
        ended.append(torch.cuda.Event(enable_timing=True))
        ended[-1].record()
        moved[0] += (3 * (numbers[0] < table.n).sum() + (numbers[3] != table.n).sum()) * row

    programme._runs = [computed]
    type(engine.table).write = written
    contestant.go(rounds, 0)
    torch.cuda.synchronize()
    seconds = sum(a.elapsed_time(b) for a, b in zip(began, ended, strict=True)) / 1e3
    report(
        updates_per_second=0,
        merge_bytes_per_second=moved[0] / seconds,
        merge_seconds=seconds,
        tiers=[programme.tier],
        block=engine.block,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=["W1", "W2"])
    parser.add_argument("nodes", type=int)
    parser.add_argument("rounds", type=int)
    parser.add_argument("--evaluate-every", type=int, default=10)
    parser.add_argument("--evaluate-nodes", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", default="always", choices=["always", "never"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--shares", action="store_true", help="measure phases instead")
    parser.add_argument("--merge", action="store_true", help="measure merging on a card instead")
    arguments = parser.parse_args()
    if arguments.merge:
        merging(arguments.workload, arguments.nodes, arguments.rounds)
        return
    if arguments.shares:
        found = shares(arguments.workload, arguments.nodes, arguments.rounds, compile_when=arguments.compile)
        report(shares=found)
        return
    started = time.perf_counter()
    contestant = Contestant(
        arguments.workload,
        arguments.nodes,
        threads=arguments.threads,
        compile_when=arguments.compile,
        measured=arguments.evaluate_nodes,
        device=arguments.device,
    )
    contestant.go(1, 1 if arguments.evaluate_every else 0)
    setup = time.perf_counter() - started
    before, contestant.evaluating = contestant.engine.phases.updates, 0.0
    started, started_cpu = time.perf_counter(), time.process_time()
    contestant.go(arguments.rounds, arguments.evaluate_every)
    if arguments.device == "cuda":
        torch.cuda.synchronize()
    seconds, cpu = time.perf_counter() - started, time.process_time() - started_cpu
    updates = contestant.engine.phases.updates - before
    table, data = contestant.engine.table, contestant.world.trainer.data
    report(
        updates_per_second=updates / seconds,
        updates_per_second_without_evaluation=updates / (seconds - contestant.evaluating),
        updates_per_cpu_second=updates / cpu,
        accuracy=contestant.accuracy,
        setup_seconds=round(setup, 2),
        seconds=round(seconds, 2),
        tiers=list(contestant.engine.phases.tiers.values()),
        block=contestant.engine.block,
        table_bytes_per_node=round((table.rows.nbytes + table.ages.nbytes) / arguments.nodes),
        row_bytes=table.rows.shape[1] * 4,
        index_bytes_per_node=round(data.indices.nbytes / arguments.nodes),
    )


if __name__ == "__main__":
    main()
