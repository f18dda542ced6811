"""A compiled round of D-PSGD beside its arithmetic, written by hand.

    OMP_NUM_THREADS=1 python -m benchmarks.rounds [--nodes 1000 10000] [--models W1 W2] [--repeats 9] [--seconds 0.3]

Digits, 20 samples a node, batches of 8, one step a round: logistic regression (W1) or a perceptron 64-128-10 (W2), on a
random 20-regular graph and on one-peer exponential graphs. By hand are the same gradients, steps and weighted sums of the
same rows, in the same process and in turns: torch's batched products over blocks of nodes that fit the cache, batches
that lie ready, no clocks, no counting, no algorithm. Sums of 20-regular graphs are scipy's, and in a second column the
simulator's own compiled ones, which are faster; of one-peer graphs torch's. That both give the same rows is checked first.
One thread; milliseconds of processor time a round, the best of the repeats.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.algorithms import NETWORKS, SCENARIO
from gossipfl.tasks import Task
from gossipfl.tasks.digits import load_digits
from sims.engine.buffers import batch_buffer, pool_of
from sims.engine.mixing import Mixing
from sims.engine.workers import Workers
from sims.running.choice import simulation_of
from sims.scenario import parse_scenario
from sims.world import build_world

BATCH, RATE, BLOCK = 8, 0.05, 64
CPU = torch.device("cpu")
Step = Callable[[Tensor, Tensor, Tensor, Tensor], None]


def logistic() -> Task:
    """Logistic regression."""
    return Task(name="W1", model=lambda: nn.Linear(64, 10), data=load_digits)


def perceptron() -> Task:
    """Perceptron with one hidden layer."""
    return Task(
        name="W2",
        model=lambda: nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)),
        data=load_digits,
    )


def slopes(outputs: Tensor, classes: Tensor) -> Tensor:
    """Slopes of the mean cross-entropy by outputs ``[B, classes, S]``, in place."""
    found = torch.softmax(outputs, 1, dtype=outputs.dtype)
    found.scatter_add_(1, classes[:, None], found.new_full((), -1.0).expand(len(found), 1, BATCH))
    return found.mul_(1 / BATCH)


def layer(rows: Tensor, first: int, inputs: int, outputs: int) -> tuple[Tensor, Tensor]:
    """Weights ``[B, outputs, inputs]`` and biases of a layer, views of rows."""
    end = first + inputs * outputs
    return rows[:, first:end].unflatten(1, (outputs, inputs)), rows[:, end : end + outputs]


def descend(old: tuple[Tensor, Tensor], new: tuple[Tensor, Tensor], by: Tensor, values: Tensor) -> None:
    """Step of a layer along slopes by its outputs ``[B, outputs, S]``, for inputs ``[B, S, inputs]``."""
    torch.add(old[0], torch.bmm(by, values), alpha=-RATE, out=new[0])
    torch.add(old[1], by.sum(2), alpha=-RATE, out=new[1])


def step_of_logistic(rows: Tensor, trained: Tensor, inputs: Tensor, classes: Tensor) -> None:
    """A step of a block of nodes."""
    old, new = layer(rows, 0, 64, 10), layer(trained, 0, 64, 10)
    outputs = torch.baddbmm(old[1][:, :, None], old[0], inputs.transpose(1, 2))
    descend(old, new, slopes(outputs, classes), inputs)


def step_of_perceptron(rows: Tensor, trained: Tensor, inputs: Tensor, classes: Tensor) -> None:
    """A step of a block of nodes."""
    first, last = layer(rows, 0, 64, 128), layer(rows, 65 * 128, 128, 10)
    hidden = torch.baddbmm(first[1][:, :, None], first[0], inputs.transpose(1, 2)).relu_()
    by = slopes(torch.baddbmm(last[1][:, :, None], last[0], hidden), classes)
    behind = torch.bmm(last[0].transpose(1, 2), by).mul_(hidden > 0)
    descend(last, layer(trained, 65 * 128, 128, 10), by, hidden.transpose(1, 2))
    descend(first, layer(trained, 0, 64, 128), behind, inputs)


TASKS: dict[str, tuple[Callable[[], Task], Step]] = {
    "W1": (logistic, step_of_logistic),
    "W2": (perceptron, step_of_perceptron),
}


class ByHand:
    """The same round: gradients of all nodes, then sums of neighbours."""

    def __init__(self, model: str, network: str, nodes: int) -> None:
        task, self.step = TASKS[model]
        scenario = parse_scenario(
            SCENARIO.format(
                nodes=nodes,
                task=f"{__name__}:{task.__name__}",
                topology=NETWORKS[network],
                algorithm='name = "d_psgd"',
                training="",
            )
        )
        self.simulation = simulation_of(
            scenario, build_world(scenario), threads=1, compile_when="always", device="cpu"
        )
        self.simulation.advance(
            15, between=lambda: False
        )  # whatever is made on first use, and a whole period
        self.engine = engine = self.simulation.engine
        world = engine.world
        self.rows = engine.rows().clone()
        buffer = batch_buffer(pool_of(world.trainer.data, CPU), rows=nodes, local_steps=1, size=BATCH)
        everyone = np.arange(nodes)
        buffer.gather(world.trainer, everyone, np.zeros_like(everyone), engine.nodes.steps.numpy())
        self.inputs, self.classes = (leaf[:, 0] for leaf in buffer.gathered)
        self.matrix = engine.exchanges.sequence.matrix(15)
        self.single = self.matrix.astype(np.float32)
        self.compiled = Mixing(self.matrix, device=CPU, workers=Workers(1))
        self.trained, self.sums = torch.empty_like(self.rows), torch.empty_like(self.rows)
        self.one_peer = network == "one-peer"
        if self.one_peer:
            apart = self.matrix.copy()
            apart.data = apart.data.copy()
            apart.setdiag(0)
            apart.eliminate_zeros()
            self.partners = torch.from_numpy(apart.indices.astype(np.int64))

    def train(self) -> None:
        """Steps of all nodes."""
        for first in range(0, len(self.rows), BLOCK):
            span = slice(first, first + BLOCK)
            self.step(self.rows[span], self.trained[span], self.inputs[span], self.classes[span])

    def average(self) -> None:
        """Means of pairs, a block at a time."""
        for first in range(0, len(self.rows), BLOCK):
            span, sums = slice(first, first + BLOCK), self.sums[first : first + BLOCK]
            torch.index_select(self.trained, 0, self.partners[span], out=sums)
            sums.add_(self.trained[span]).mul_(0.5)

    def round(self) -> Tensor:
        """By hand, with sums by torch or scipy."""
        self.train()
        if self.one_peer:
            self.average()
            return self.sums
        return torch.from_numpy(self.single @ self.trained.numpy())

    def round_with_compiled_sums(self) -> Tensor:
        """By hand, with the simulator's sums."""
        self.train()
        return self.compiled(self.trained)


def compare(model: str, network: str, nodes: int, *, repeats: int, seconds: float) -> None:
    """Print the times of one case."""
    by_hand = ByHand(model, network, nodes)
    with torch.no_grad():
        expected = [by_hand.round().clone(), by_hand.round_with_compiled_sums()]
        simulation, done = by_hand.simulation, 16
        simulation.advance(done, between=lambda: False)
        for each in expected:
            torch.testing.assert_close(by_hand.engine.rows(), each, rtol=1e-4, atol=1e-5)

        def simulate() -> None:
            nonlocal done
            done += 1
            simulation.advance(done, between=lambda: False)

        ways: dict[str, Callable[[], object]] = {
            "simulator": simulate,
            "by hand": by_hand.round,
            "by hand, compiled sums": by_hand.round_with_compiled_sums,
        }
        started = time.process_time()
        simulate()
        rounds = max(1, int(seconds / (time.process_time() - started)))
        best = dict.fromkeys(ways, float("inf"))
        for _ in range(repeats):
            for name, way in ways.items():
                started = time.process_time()
                for _ in range(rounds):
                    way()
                best[name] = min(best[name], (time.process_time() - started) / rounds)
    ours, first, second = (1e3 * best[name] for name in ways)
    print(
        f"{model:5} {network:12} {nodes:8,} {ours:10.2f} {first:10.2f} {second:10.2f} "
        f"{ours / first:8.2f} {ours / second:8.2f}",
        flush=True,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--models", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument(
        "--networks", nargs="+", choices=("20-regular", "one-peer"), default=["20-regular", "one-peer"]
    )
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.3, help="of rounds timed together")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print(f"load {os.getloadavg()[0]:.1f}; milliseconds of processor time a round")
    print(f"{'':27} {'simulator':>10} {'by hand':>10} {'comp. sums':>10} {'ratio':>8} {'ratio':>8}")
    for model in chosen.models:
        for network in chosen.networks:
            for nodes in chosen.nodes:
                compare(model, network, nodes, repeats=chosen.repeats, seconds=chosen.seconds)


if __name__ == "__main__":
    main()
