"""Training and evaluation of an LSTM, a transformer and a CNN in the simulator, beside a plain loop over nodes.

The loop has a torch module for each node and takes one after another: forward pass, ``loss.backward()``, SGD in place,
with torch's own fused LSTM and attention. Both train on batches of 16 samples, one thread, and take turns; seconds are
of the process, medians of the repeats.

    python -m benchmarks.sequence_models
    python -m benchmarks.sequence_models --only lstm --nodes 200 --compile always
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from examples.next_character import CHARACTERS, babble, windows
from gossipfl import Dataset, Task
from gossipfl.training import Nodes
from sims.engine.engine import Phases
from sims.engine.local import BlockTraining
from sims.metrics.evaluation import Evaluator
from sims.scenario import parse_scenario
from sims.world import World, build_world

SAMPLES, RATE, EACH, TESTED = 16, 0.05, 32, 256
LENGTH, WIDTH, HEADS, LAYERS = 16, 40, 4, 2


class Lstm(nn.Module):
    """37,216 numbers: an embedding, an LSTM of 64 units, and scores of the next characters."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(CHARACTERS, 40)
        self.lstm = nn.LSTM(40, 64, batch_first=True)
        self.decoder = nn.Linear(64, CHARACTERS)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores ``[samples, CHARACTERS, LENGTH]``."""
        return self.decoder(self.lstm(self.embedding(tokens))[0]).mT


class Transformer(nn.Module):
    """Two causal blocks, norm first; the embedding is the decoder's weight."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(CHARACTERS, WIDTH)
        self.place = nn.Parameter(0.02 * torch.randn(LENGTH, WIDTH))
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 128, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, LAYERS, nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(LENGTH))

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores ``[samples, CHARACTERS, LENGTH]``."""
        hidden = self.blocks(self.embedding(tokens) + self.place, mask=self.mask, is_causal=True)
        return functional.linear(hidden, self.embedding.weight).mT


def cnn() -> nn.Module:
    """Two convolutions of images of 28 × 28, each pooled, and a layer of ten classes."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(784, 10),
    )


MODELS: dict[str, Callable[[], nn.Module]] = {"lstm": Lstm, "transformer": Transformer, "cnn": cnn}


def task(*, kind: str, nodes: int) -> Task:
    """Task of one of the models: made-up words, or images of ten noisy patterns."""

    def characters() -> tuple[Tensor, Tensor]:
        found = [windows(babble(role, 10_000), EACH) for role in range(nodes)]
        tested = windows(babble(nodes, 10_000), TESTED)
        return tuple(torch.cat([*(pair[k] for pair in found), tested[k]]) for k in (0, 1))

    def images() -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(0)
        classes = torch.randint(10, (nodes * EACH + TESTED,), generator=generator)
        patterns = torch.rand(10, 1, 28, 28, generator=generator)
        noise = 0.5 * torch.randn(len(classes), 1, 28, 28, generator=generator)
        return patterns[classes] + noise, classes

    def data() -> Dataset:
        inputs, targets = images() if kind == "cnn" else characters()
        return Dataset(
            train_inputs=inputs[:-TESTED],
            train_targets=targets[:-TESTED],
            test_inputs=inputs[-TESTED:],
            test_targets=targets[-TESTED:],
        )

    return Task(name=kind, model=MODELS[kind], data=data)


def world_of(kind: str, nodes: int) -> World:
    """Nodes that train one of the models."""
    return build_world(
        parse_scenario(
            f"""
            [population]
            nodes = {nodes}
            [task]
            name = "benchmarks.sequence_models:task"
            partition = "contiguous"
            [task.options]
            kind = "{kind}"
            nodes = {nodes}
            [topology]
            name = "ring"
            [algorithm]
            name = "d_psgd"
            [training]
            batch_size = {SAMPLES}
            learning_rate = {RATE}
            """
        )
    )


class PlainLoop:
    """A module for each node, one after another."""

    def __init__(self, world: World) -> None:
        data, nodes = world.task.data(), world.scenario.population.nodes
        self.modules = [world.task.build_module() for _ in range(nodes)]
        self.batches = (
            data.train_inputs.reshape(nodes, EACH, *data.train_inputs.shape[1:]),
            data.train_targets.reshape(nodes, EACH, *data.train_targets.shape[1:]),
        )
        self.tests = data.test_inputs, data.test_targets
        self.generator = torch.Generator().manual_seed(0)

    def train(self) -> None:
        """A step of every node."""
        chosen = torch.randint(EACH, (len(self.modules), SAMPLES), generator=self.generator)
        for node, module in enumerate(self.modules):
            inputs, targets = (each[node][chosen[node]] for each in self.batches)
            functional.cross_entropy(module(inputs), targets).backward()
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter.sub_(parameter.grad, alpha=RATE)
                    parameter.grad = None

    def evaluate(self) -> None:
        """Loss and accuracy of every node on all test samples."""
        inputs, targets = self.tests
        with torch.no_grad():
            for module in self.modules:
                outputs = module(inputs)
                functional.cross_entropy(outputs, targets).item()
                (outputs.argmax(dim=1) == targets).float().mean().item()


class Simulated:
    """The same as simulations do it."""

    def __init__(self, world: World, compile_when: str, block: int | None = None) -> None:
        phases, nodes = Phases(), world.scenario.population.nodes
        self.local = BlockTraining(
            world,
            expected_rounds=0,
            threads=1,
            compile_when=compile_when,
            device=torch.device("cpu"),
            phases=phases,
        )
        if block is not None:
            self.local.blocks.block = block
        self.evaluator = Evaluator(world, expected_rows=0, compile_when=compile_when)
        rows = world.task.initial_row().repeat(nodes, 1)
        self.nodes = Nodes.start(rows, optimiser_state_size=world.trainer.optimiser_state_size)
        self.phases = phases

    def train(self) -> None:
        """A step of every node."""
        self.nodes = self.local.update(self.nodes)

    def evaluate(self) -> None:
        """Loss and accuracy of every node on all test samples."""
        self.evaluator(self.nodes.rows)


def seconds_of(run: Callable[[], None], rounds: int) -> float:
    """Seconds of processor time a round."""
    started = time.process_time()
    for _ in range(rounds):
        run()
    return (time.process_time() - started) / rounds


def measure(
    kind: str, *, nodes: int, rounds: int, repeats: int, compile_when: str, block: int | None
) -> None:
    """Print both ways' figures of one model."""
    world = world_of(kind, nodes)
    started = time.process_time()
    simulated = Simulated(world, compile_when, block)
    simulated.train()
    trained = time.process_time()
    simulated.evaluate()
    print(
        f"{kind}: {world.layout.size:,} numbers, blocks of {simulated.local.blocks.block} trained and of "
        f"{simulated.evaluator.block} evaluated, {simulated.phases.tiers}; the first step took "
        f"{trained - started:.1f} s, the first evaluation {time.process_time() - trained:.1f} s"
    )
    loop = PlainLoop(world)
    for what, of in (("training", "train"), ("evaluation", "evaluate")):
        ways = {"loop": getattr(loop, of), "simulator": getattr(simulated, of)}
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(repeats):
            for name, run in ways.items():
                seconds[name].append(seconds_of(run, rounds))
        median = {name: statistics.median(each) / nodes for name, each in seconds.items()}
        ratios = sorted(a / b for a, b in zip(seconds["loop"], seconds["simulator"], strict=True))
        print(
            f"  {what}: loop {1e3 * median['loop']:.2f} ms ({1 / median['loop']:.0f}/s), simulator "
            f"{1e3 * median['simulator']:.2f} ms ({1 / median['simulator']:.0f}/s), "
            f"{statistics.median(ratios):.2f} × the loop ({ratios[0]:.2f} … {ratios[-1]:.2f})"
        )


def main() -> None:
    """Print milliseconds a node, and how many times as fast as the loop the simulator is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=[*MODELS], action="append")
    parser.add_argument("--nodes", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--compile", choices=["auto", "always", "never"], default="never")
    parser.add_argument("--block", type=int, help="rows trained together, in place of the simulator's choice")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print(f"load {os.getloadavg()[0]:.1f}")
    run = partial(
        measure,
        nodes=chosen.nodes,
        rounds=chosen.rounds,
        repeats=chosen.repeats,
        compile_when=chosen.compile,
        block=chosen.block,
    )
    for kind in chosen.only or MODELS:
        run(kind)


if __name__ == "__main__":
    main()
