"""A small transformer in the simulator, beside a hand-written loop of the same with `torch.func.vmap`.

The model and task of `examples/next_character.py`: two layers of width 64, the next character of a role's lines. Both do
the same steps on batches of eight windows, one thread; the loop has all nodes in one call, and in blocks of each of
several sizes, the best of which is the baseline too. They take turns; seconds are of the process, medians of the repeats.

    python -m benchmarks.transformer --text shakespeare
    python -m benchmarks.transformer --device cuda          # seconds there are of the clock
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from gossipfl.training import Nodes
from sims.engine.engine import Phases
from sims.engine.local import BlockTraining
from sims.scenario import parse_scenario
from sims.world import World, build_world

WINDOWS, RATE = 8, 0.1
BLOCKS = (8, 16, 32, 50)


def by_hand(world: World, *, block: int, device: torch.device) -> Callable[[], None]:
    """A round of a step for every node: ``vmap(grad)`` over blocks of nodes, and plain SGD in place."""
    data, n = world.trainer.data, len(world.trainer.data.counts)
    module = world.task.build_module().train().to(device)
    buffers = dict(module.named_buffers())
    stacked = {name: p.detach().expand(n, *p.shape).clone() for name, p in module.named_parameters()}
    batches = (
        data.inputs.reshape(n, -1, *data.inputs.shape[1:]).to(device),
        data.targets.reshape(n, -1, *data.targets.shape[1:]).to(device),
    )
    generator = torch.Generator().manual_seed(0)

    def loss_of(own: dict[str, Tensor], tokens: Tensor, expected: Tensor) -> Tensor:
        return functional.cross_entropy(functional_call(module, {**own, **buffers}, (tokens,)), expected)

    gradients_of = vmap(grad(loss_of))

    def one_round() -> None:
        chosen = torch.randint(batches[0].shape[1], (n, WINDOWS), generator=generator).to(device)
        everyone = torch.arange(n, device=device)[:, None]
        for first in range(0, n, block):
            part = slice(first, first + block)
            inputs, targets = (each[everyone[part], chosen[part]] for each in batches)
            gradients = gradients_of({name: p[part] for name, p in stacked.items()}, inputs, targets)
            for name, gradient in gradients.items():
                stacked[name][part].sub_(gradient, alpha=RATE)

    return one_round


def simulated(world: World, device: torch.device) -> Callable[[], None]:
    """A round of a step for every node, as algorithms of the simulator do it."""
    phases = Phases()
    local = BlockTraining(
        world, expected_rounds=0, threads=1, compile_when="never", device=device, phases=phases
    )
    rows = world.task.initial_row().repeat(world.scenario.population.nodes, 1)
    nodes = Nodes.start(rows, optimiser_state_size=world.trainer.optimiser_state_size)
    nodes = replace(nodes.on(device), ages=nodes.ages.to(device), steps=nodes.steps.to(device))

    def one_round() -> None:
        nonlocal nodes
        nodes = local.update(nodes)

    one_round()
    print(f"{local.blocks.block} rows of {rows.shape[1]} numbers in a block, {phases.tiers[WINDOWS]}")
    return one_round


def seconds_of(run: Callable[[], None], rounds: int, device: torch.device) -> float:
    """Seconds of processor time a round; on a card, of the clock."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    started = clock()
    for _ in range(rounds):
        run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (clock() - started) / rounds


def main() -> None:
    """Print milliseconds a node's step of all, and the ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--text",
        default="",
        help="as in examples/next_character.py: shakespeare, or plays; made up if not given",
    )
    parser.add_argument("--nodes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # torch's, of the fused attention that vmap calls row by row
    scenario = parse_scenario(
        f"""
        [population]
        nodes = {chosen.nodes}
        [task]
        name = "examples.next_character:task"
        partition = "contiguous"
        [task.options]
        text = "{chosen.text}"
        roles = {chosen.nodes}
        [topology]
        name = "ring"
        [algorithm]
        name = "d_psgd"
        [training]
        batch_size = {WINDOWS}
        learning_rate = {RATE}
        """
    )
    world = build_world(scenario)
    blocks = sorted({*(block for block in BLOCKS if block < chosen.nodes), chosen.nodes})
    device = torch.device(chosen.device)
    runs = {"simulator": simulated(world, device)} | {
        f"by hand, blocks of {block}": by_hand(world, block=block, device=device) for block in blocks
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(chosen.repeats):
        for name, run in runs.items():
            seconds[name].append(seconds_of(run, chosen.rounds, device))
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    print(f"load {os.getloadavg()[0]:.1f}; milliseconds a node and step; the simulator's time ÷ this one's")
    for name, median in medians.items():
        print(f"{name:25s} {1e3 * median / chosen.nodes:6.2f}  {medians['simulator'] / median:5.2f}")


if __name__ == "__main__":
    main()
