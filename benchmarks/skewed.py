"""A round of D-PSGD where nodes have too few samples for a batch: padded batches beside a programme for each size.

    python -m benchmarks.skewed [--nodes 100] [--partition dirichlet:0.1] [--batch 32] [--repeats 5] [--rounds 20]

The bundled digits, one local step a round, traced or compiled (``--compile always``), one thread.
Both train the same rows in one process and in turns; milliseconds of processor time a round, medians of the repeats. That
they end with the same rows, but for rounding, is checked.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Sequence

import torch

from gossipfl.training import Nodes
from sims.engine import batch_sizes
from sims.engine.engine import Phases
from sims.engine.local import BlockTraining
from sims.engine.programme import Compile
from sims.scenario import parse_scenario
from sims.world import World, build_world

MODES = ("padded", "as they are")


def world_of(chosen: argparse.Namespace) -> World:
    """Nodes that train on digits."""
    return build_world(
        parse_scenario(
            f"""
            [population]
            nodes = {chosen.nodes}
            [task]
            name = "digits"
            partition = "{chosen.partition}"
            [topology]
            name = "ring"
            [algorithm]
            name = "d_psgd"
            [training]
            batch_size = {chosen.batch}
            learning_rate = 0.05
            """
        )
    )


class Training:
    """Steps of all nodes, in one of the modes."""

    def __init__(self, world: World, mode: str, compile_when: Compile) -> None:
        kept = batch_sizes.FEW
        batch_sizes.FEW = kept if mode == "padded" else len(world.sample_counts)
        started = time.process_time()
        self.local = BlockTraining(
            world,
            expected_rounds=0,
            threads=1,
            compile_when=compile_when,
            device=torch.device("cpu"),
            phases=Phases(),
        )
        self.programmes = len(batch_sizes.BatchSizes.of_world(world).groups[0])
        batch_sizes.FEW = kept
        rows = world.task.initial_row().repeat(world.scenario.population.nodes, 1)
        self.nodes = Nodes.start(rows, optimiser_state_size=world.trainer.optimiser_state_size)
        self.nodes = self.local.update(self.nodes)
        self.first = time.process_time() - started

    def seconds(self, rounds: int) -> float:
        """Seconds of processor time a round."""
        started = time.process_time()
        for _ in range(rounds):
            self.nodes = self.local.update(self.nodes)
        return (time.process_time() - started) / rounds


def main(arguments: Sequence[str] | None = None) -> None:
    """Print programmes, seconds of the first round, and milliseconds of others."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--partition", default="dirichlet:0.1")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--compile", choices=["never", "always"], default="never")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    world = world_of(chosen)
    ways = {mode: Training(world, mode, chosen.compile) for mode in MODES}
    seconds: dict[str, list[float]] = {mode: [] for mode in MODES}
    for _ in range(chosen.repeats):
        for mode, way in ways.items():
            seconds[mode].append(way.seconds(chosen.rounds))
    padded, plain = (ways[mode].nodes.rows for mode in MODES)
    torch.testing.assert_close(padded, plain, rtol=1e-3, atol=1e-4)
    print(f"load {os.getloadavg()[0]:.1f}, {world.layout.size:,} numbers")
    for mode, way in ways.items():
        found = sorted(1e3 * each for each in seconds[mode])
        print(
            f"  {mode}: {way.programmes} programmes, the first round {way.first:.2f} s, "
            f"then {statistics.median(found):.1f} ms ({found[0]:.1f} … {found[-1]:.1f})"
        )


if __name__ == "__main__":
    main()
