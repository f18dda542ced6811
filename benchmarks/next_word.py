"""Training steps of next-word: one row, sixteen together, and those traced as simulations do, beside a plain torch loop.

python -m benchmarks.next_word --size small
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import torch
from torch.nn import functional

from gossipfl.settings import TrainingSettings
from gossipfl.tasks import find_task
from gossipfl.training import NodeData, Nodes, Trainer
from sims.engine.engine import Phases
from sims.engine.local import BlockTraining
from sims.scenario import parse_scenario
from sims.world import build_world

SAMPLES = 16


def plain(task, data, steps: int) -> float:
    """Steps a CPU-second of torch's own loop, with torch's cross-entropy of all scores."""
    module = task.build_module()
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    began = time.process_time()
    for step in range(steps):
        index = torch.arange(step * SAMPLES, (step + 1) * SAMPLES) % data.samples
        words, following = (data.train_inputs[name][index] for name in ("words", "following"))
        scores = module.scores(module.hidden(words)).flatten(0, 1)
        optimiser.zero_grad()
        functional.cross_entropy(scores, following.flatten()).backward()
        optimiser.step()
    return steps / (time.process_time() - began)


def together(task, data, rows: int, steps: int) -> float:
    """Steps a CPU-second of so many rows at once, each step of each row counted."""
    parts = np.array_split(np.arange(data.samples), rows)
    trainer = Trainer.of(
        task,
        NodeData.partitioned(data.train_inputs, data.train_targets, parts),
        TrainingSettings(learning_rate=0.1, batch_size=SAMPLES),
    )
    nodes = Nodes.start(
        torch.stack([task.initial_row()] * rows), optimiser_state_size=trainer.optimiser_state_size
    )
    nodes, _ = trainer.train(nodes, np.arange(rows))
    began = time.process_time()
    for _ in range(steps):
        nodes, _ = trainer.train(nodes, np.arange(rows))
    return rows * steps / (time.process_time() - began)


def traced(options, rows: int, steps: int) -> float:
    """Steps a CPU-second of so many rows as simulations do them: traced once, in blocks."""
    written = ", ".join(f"{key} = {json.dumps(value)}" for key, value in options.items())
    scenario = parse_scenario(
        f"""
[population]
nodes = {rows}
[task]
name = "next-word"
options = {{ {written} }}
[topology]
name = "ring"
[algorithm]
name = "d_psgd"
[training]
learning_rate = 0.1
batch_size = {SAMPLES}
[evaluate]
every = 1
[stop]
rounds = 1
"""
    )
    world = build_world(scenario)
    local = BlockTraining(
        world,
        expected_rounds=steps,
        threads=1,
        compile_when="never",
        device=torch.device("cpu"),
        phases=Phases(),
    )
    nodes = Nodes.start(world.first_rows().expand(rows, -1).contiguous(), optimiser_state_size=0)
    with torch.no_grad():
        nodes = local.update(nodes)
        began = time.process_time()
        for _ in range(steps):
            nodes = local.update(nodes)
    return rows * steps / (time.process_time() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", default="shakespeare")
    parser.add_argument("--size", default="small")
    parser.add_argument("--cell", default="cifg")
    parser.add_argument("--steps", type=int, default=32)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    options = {"text": chosen.text, "users": 16, "size": chosen.size, "cell": chosen.cell}
    task = find_task("next-word", options)
    data = task.dataset()
    plain(task, data, 3)
    for _ in range(2):
        base = plain(task, data, chosen.steps)
        one = together(task, data, 1, chosen.steps)
        many = together(task, data, 16, max(1, chosen.steps // 8))
        block = traced(options, 16, max(1, chosen.steps // 8))
        print(
            f"plain loop {base:.0f} steps/s; one row {one:.0f} ({one / base:.2f}); "
            f"sixteen rows {many:.0f} ({many / base:.2f}), traced {block:.0f} ({block / base:.2f})"
        )


if __name__ == "__main__":
    main()
