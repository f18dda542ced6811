"""Memory and time of simulations whose weights are mostly frozen: stored once, and once for every node."""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from contextlib import nullcontext
from unittest.mock import patch

import torch
from torch import Tensor, nn

from gossipfl.tasks import Dataset, Task

ALGORITHMS = {
    "rounds": ["algorithm.name=d_psgd", "topology={name='random-regular',degree=8}"],
    "messages": ["algorithm.name=gossip_learning", "topology={name='random-regular',degree=8}"],
}


class Adapted(nn.Module):
    """A frozen body of 38,610 numbers, low-rank factors and a head of 4,368."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(64, 594).requires_grad_(requires_grad=False)
        self.a, self.b = nn.Parameter(torch.randn(64, 3) / 8), nn.Parameter(torch.zeros(3, 594))
        self.head = nn.Linear(594, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(torch.tanh(self.body(inputs) + inputs @ self.a @ self.b))


def task() -> Task:
    """Four classes of random points."""

    def data() -> Dataset:
        inputs = torch.randn(4000, 64, generator=torch.Generator().manual_seed(1))
        targets = inputs[:, :4].argmax(dim=1)
        return Dataset(
            train_inputs=inputs,
            train_targets=targets,
            test_inputs=inputs[:200],
            test_targets=targets[:200],
        )

    return Task(name="adapted", model=Adapted, data=data)


def measured(kind: str, *, nodes: int, rounds: int, apart: bool, optimiser: str) -> dict[str, float]:
    """Run one simulation in this process."""
    import sims

    everything_in_rows = patch("sims.world.world.constants_apart", side_effect=lambda *both: both)
    overrides = [
        *ALGORITHMS[kind],
        f"population.nodes={nodes}",
        f"training={{batch_size=8,learning_rate=0.01,optimiser='{optimiser}'}}",
        f"stop.rounds={rounds}",
        f"evaluate={{every={rounds},nodes=8}}",
        "output.rows=false",
    ]
    scenario = {"task": {"name": "benchmarks.frozen_weights:task"}, "algorithm": {"name": "d_psgd"}}
    scenario["population"] = {"nodes": nodes}
    marks: list[tuple[float, float]] = []
    with nullcontext() if apart else everything_in_rows:
        few = ["population.nodes=16", "stop.rounds=1", "evaluate.every=1"]
        sims.run(scenario, overrides=[*overrides, *few], compile_when="never")  # loads what is loaded once
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        result = sims.run(
            scenario,
            overrides=overrides,
            compile_when="never",
            on_progress=lambda progress: marks.append((progress.rounds, time.process_time())),
        )
    first = next(mark for mark in marks if mark[0] >= rounds / 4)
    last = max(marks)
    return {
        "mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
        "row": result.rows.shape[1],
        "ms": 1000 * (last[1] - first[1]) / max(last[0] - first[0], 1e-9),
    }


def main() -> None:
    """Print one line a measurement, each from a process of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--one", nargs=3)
    given = parser.parse_args()
    if given.one is not None:
        kind, optimiser, apart = given.one
        found = measured(
            kind, nodes=given.nodes, rounds=given.rounds, apart=apart == "once", optimiser=optimiser
        )
        print(json.dumps(found))
        return
    print(
        "run, optimiser, frozen weights stored: peak MB beyond those of 16 nodes, numbers in a row, CPU ms a round"
    )
    for kind in ALGORITHMS:
        for optimiser in ("sgd", "adamw"):
            for apart in ("per node", "once"):
                command = [sys.executable, "-m", "benchmarks.frozen_weights", "--one", kind, optimiser, apart]
                sizes = ["--nodes", str(given.nodes), "--rounds", str(given.rounds)]
                out = subprocess.run([*command, *sizes], check=True, capture_output=True, text=True).stdout
                found = json.loads(out.splitlines()[-1])
                print(
                    f"{kind}, {optimiser}, {apart}: {found['mb']:.0f} MB, {found['row']}, {found['ms']:.0f} ms"
                )


if __name__ == "__main__":
    main()
