"""The worst peer against pooled training, by setting: the demo without its network.

    python benchmarks/convergence.py --seeds 10            # the table of docs/convergence.md
    python benchmarks/convergence.py --seeds 3 --only recipe

Each cycle every peer, in random order, exchanges models with a random other one; models arrive at once. The
learning code is the peers' own. The baseline is pooled training with the demo's settings, in the same run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gossipfl.demo.baselines import baseline
from gossipfl.demo.plan import DemoPlan
from gossipfl.peer.gossip.plan import gossip_algorithm
from gossipfl.settings import PeerSettings
from gossipfl.tasks import find_task
from gossipfl.training import NodeData, Nodes, Trainer

OWN = np.zeros(1, dtype=np.int64)
CYCLES_DOWN = 40  # how long the killed peer that comes back is away


@dataclass(frozen=True)
class Variant:
    """A change of the demo's recipe."""

    name: str
    overrides: dict[str, dict[str, Any]] = field(default_factory=dict)
    kill: int = 0
    push_only: bool = False


VARIANTS = (
    Variant("recipe"),
    Variant("recipe, 2 of 8 killed half-way, one returns", kill=2),
    Variant("constant step size", {"training": {"schedule": "constant"}}),
    Variant("schedule ends at age 450", {"training": {"decay_age": 450}}),
    Variant("no momentum, same effective step (2.0)", {"training": {"learning_rate": 2.0, "momentum": 0.0}}),
    Variant("no momentum, step size 0.2", {"training": {"momentum": 0.0}}),
    Variant("half the step size", {"training": {"learning_rate": 0.1}}),
    Variant("2 merges a training", {"exchange": {"merges_per_training": 2}}),
    Variant("4 merges a training", {"exchange": {"merges_per_training": 4}}),
    Variant("push only", push_only=True),
    Variant("plain weights", {"gossip": {"weighting": "plain"}}),
    Variant("RW: no merging", {"gossip": {"merge": "RW"}}),
    Variant("UM: train both, then merge", {"gossip": {"merge": "UM"}}),
)


class Network:
    """Eight learners and no sockets."""

    def __init__(self, plan: DemoPlan, settings: PeerSettings) -> None:
        self.tasks = [find_task(plan.task, plan.task_options(i)) for i in range(plan.peers)]
        self.data = [task.data() for task in self.tasks]
        self.trainers = [
            Trainer.of(
                task, NodeData.of_one_node(data.train_inputs, data.train_targets, number=i), settings.training
            )
            for i, (task, data) in enumerate(zip(self.tasks, self.data, strict=True))
        ]
        self.algorithm = gossip_algorithm(settings)
        self.merges_per_training = settings.exchange.merges_per_training
        width = self.trainers[0].optimiser_state_size
        self.nodes = [
            Nodes.start(task.initial_row()[None], optimiser_state_size=width) for task in self.tasks
        ]
        self.pending = [0] * plan.peers

    def emit(self, peer: int) -> Any:
        return self.algorithm.emit(self.nodes[peer], shared_size=self.tasks[0].layout.shared_size)

    def absorb(self, peer: int, message: Any) -> None:
        self.pending[peer] = (self.pending[peer] + 1) % self.merges_per_training
        trains = self.pending[peer] == 0
        update: Callable[[Nodes], Nodes] = (
            (lambda nodes: self.trainers[peer].train(nodes, OWN)[0]) if trains else (lambda nodes: nodes)
        )
        self.nodes[peer] = self.algorithm.on_receipt(self.nodes[peer], message, update=update)

    def accuracies(self, peers: list[int]) -> list[float]:
        rows = torch.cat([self.nodes[peer].rows for peer in peers])
        test = self.data[0]
        values = self.tasks[0].evaluate(rows, test.test_inputs, test.test_targets)["accuracy"]
        return [100 * float(value) for value in values]


def run(variant: Variant, seed: int) -> tuple[float, float, float, int]:
    """Pooled, mean and worst accuracy (%), and cycles."""
    plan = DemoPlan(directory=Path("unused"), seed=seed, overrides=variant.overrides)
    settings = plan.settings(0, bootstrap=[], listen="/ip4/127.0.0.1/tcp/0")
    network = Network(plan, settings)
    generator = np.random.default_rng((seed, 1))
    alive = set(range(plan.peers))
    returns_at: int | None = None
    cycles, enough = 0, settings.training.decay_age
    while True:
        cycles += 1
        for peer in generator.permutation(sorted(alive)):
            others = sorted(alive - {int(peer)})
            other = others[int(generator.integers(len(others)))]
            push, answer = network.emit(peer), network.emit(other)
            network.absorb(other, push)
            if not variant.push_only:
                network.absorb(peer, answer)
        ages = [int(network.nodes[peer].ages[0]) for peer in alive]
        if variant.kill and returns_at is None and max(ages) >= enough / 2:
            alive -= set(range(plan.peers - variant.kill, plan.peers))
            returns_at = cycles + CYCLES_DOWN
        if cycles == returns_at:
            alive.add(plan.peers - variant.kill)
        settled = not variant.kill or (returns_at is not None and cycles >= returns_at + CYCLES_DOWN // 2)
        if (min(ages) >= enough and settled) or cycles >= 3000:
            break
    accuracies = network.accuracies(sorted(alive))
    return pooled(seed), statistics.fmean(accuracies), min(accuracies), cycles


@cache
def pooled(seed: int) -> float:
    """Accuracy (%) of pooled training with the demo's settings."""
    recipe = DemoPlan(directory=Path("unused"), seed=seed)
    settings = recipe.settings(0, bootstrap=[], listen="/ip4/127.0.0.1/tcp/0")
    return 100 * baseline(recipe, settings.training, "accuracy", "pooled")[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", help="run variants whose name begins so")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if not arguments.json:
        print("| what is changed | worst below pooled: mean (max) | mean below pooled | over 2 | cycles |")
        print("|---|---|---|---|---|")
    for variant in VARIANTS:
        if arguments.only and not variant.name.startswith(arguments.only):
            continue
        start = time.perf_counter()
        runs = np.array([run(variant, seed) for seed in range(arguments.seeds)])
        worst, mean = runs[:, 0] - runs[:, 2], runs[:, 0] - runs[:, 1]
        result = {
            "variant": variant.name,
            "seeds": arguments.seeds,
            "worst_gap_mean": round(float(worst.mean()), 2),
            "worst_gap_max": round(float(worst.max()), 2),
            "mean_gap": round(float(mean.mean()), 2),
            "over_2_points": int((worst > 2 + 1e-6).sum()),
            "cycles": int(runs[:, 3].mean()),
            "seconds": round(time.perf_counter() - start, 1),
        }
        if arguments.json:
            print(json.dumps(result), flush=True)
        else:
            over = f"{result['over_2_points']} of {arguments.seeds}"
            print(
                f"| {variant.name} | {result['worst_gap_mean']} ({result['worst_gap_max']}) "
                f"| {result['mean_gap']} | {over} | {result['cycles']} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
