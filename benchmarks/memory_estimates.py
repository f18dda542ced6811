"""Memory estimates of simulations beside the most that each takes, in a process of its own.

Twice: in a first run of its model and algorithm, and in a later one, which finds what the first has traced.

python -m benchmarks.memory_estimates              # all of them
python -m benchmarks.memory_estimates privacy int  # those whose names contain one of these
python -m benchmarks.memory_estimates --sample 60 --seed 1  # random ones, each written as it is drawn
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.memory_sample import sampled
from benchmarks.memory_scenarios import READY_MADE, SCENARIOS
from gossipfl.caches import cache_directory

if TYPE_CHECKING:
    from sims.running import SimulationMaker
    from sims.running.memory import MemoryEstimate
    from sims.sharding.crew import Crew
    from sims.sharding.shard import ShardTask
    from sims.world import World

__all__ = ["compared", "main", "measured"]

_MEASURES = "first", "later"


def measured(name: str) -> dict[str, tuple[float, float]]:
    """Estimated and greatest memory of a first and a later run, in bytes."""
    ready_made = READY_MADE.get(name)
    return compared("digits" if ready_made is None else name, ready_made or SCENARIOS[name])


def compared(
    scenario: str, given: tuple[str, ...], measures: tuple[str, ...] = _MEASURES
) -> dict[str, tuple[float, float]]:
    """The same of a ready-made scenario with other values and options."""
    command = [sys.executable, "-m", "benchmarks.memory_estimates", "--one", json.dumps([scenario, given])]
    kernels = os.environ.get("NUMBA_CACHE_DIR", str(cache_directory() / "kernels"))
    with tempfile.TemporaryDirectory() as caches:
        known = {**os.environ, "XDG_CACHE_HOME": caches, "NUMBA_CACHE_DIR": kernels}
        lines = [
            subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=known).stdout
            for _ in measures
        ]
    found = [json.loads(line.splitlines()[-1]) for line in lines]
    return {each: (one["estimated"], one["taken"]) for each, one in zip(measures, found, strict=True)}


def _one(scenario: str, given: list[str]) -> None:
    import sims

    options = dict(each.removeprefix("--").partition("=")[::2] for each in given if each.startswith("--"))
    estimates: list[MemoryEstimate] = []
    of_shards: list[int] = []
    with tempfile.TemporaryDirectory() as folder, _shards(options.get("shards"), of_shards) as simulated_by:
        overrides = [each for each in given if not each.startswith("--")]
        if "trace" in options:
            overrides.append(f"churn.process={{kind='trace',file='{_trace(Path(folder), _nodes(given))}'}}")
        sims.run(
            scenario,
            overrides=overrides,
            out=Path(folder) / "out" if "out" in options else None,
            threads=int(options.get("threads", 1)),
            compile_when=options.get("compile", "never"),
            on_progress=lambda progress: estimates.append(progress.memory),
            simulated_by=simulated_by,
        )
        taken = max(of_shards, default=_most(os.getpid()))
    print(estimates[0], file=sys.stderr)
    print(json.dumps({"estimated": estimates[0].total, "taken": taken}))


def _most(process: int) -> int:
    """The most memory that a process has had, in bytes."""
    words = Path(f"/proc/{process}/status").read_text(encoding="ascii").split()
    return int(words[words.index("VmHWM:") + 1]) * 1024


@contextmanager
def _shards(count: str | None, taken: list[int]) -> Iterator[SimulationMaker | None]:
    """What sets a simulation up in actors, if it is divided, and notes what each takes before it ends."""
    if count is None:
        yield None
        return
    from sims.sharding.ray_crew import ray_crews
    from sims.sharding.start import sharded

    with ray_crews("ray") as make:

        def crew(task: ShardTask, world: World) -> Crew:
            made = make(task, world)
            close = made.close

            def noted() -> None:
                taken.extend(map(_most, made.processes()))
                close()

            made.close = noted
            return made

        yield partial(sharded, shards=int(count), crew=crew)


def _nodes(given: list[str]) -> int:
    return next(int(each.partition("=")[2]) for each in given if each.startswith("population.nodes="))


def _trace(folder: Path, nodes: int) -> Path:
    """A file of sessions: some thirty of each node, of 20 s on average."""
    draws = np.random.default_rng(0)
    file = folder / "sessions.csv"
    with file.open("w", encoding="ascii") as lines:
        lines.write("node,start,end\n")
        for node in range(nodes):
            ends = np.cumsum(0.1 + draws.exponential(19.9, size=60)).tolist()
            lines.writelines(f"{node},{ends[k]:.2f},{ends[k + 1]:.2f}\n" for k in range(0, 60, 2))
    return file


def _cells(found: dict[str, tuple[float, float]]) -> str:
    return " | ".join(
        f"{estimated / 1e6:,.0f} | {taken / 1e6:,.0f} | {estimated / taken:.2f}"
        for estimated, taken in found.values()
    )


def _sample(count: int, seed: int) -> None:
    """Print a line a scenario that is drawn, every third with its later run, and how all ratios are distributed."""
    ratios: list[float] = []
    for number, given in enumerate(sampled(count, seed=seed)):
        try:
            found = compared("digits", given, _MEASURES if number % 3 == 2 else _MEASURES[:1])
        except subprocess.CalledProcessError:  # refused only where it runs: it has said why
            print(f"| refused | {' '.join(given)} |", flush=True)
            continue
        ratios += [estimated / taken for estimated, taken in found.values()]
        print(f"| {_cells(found)} | {' '.join(given)} |", flush=True)
    within = sum(0.9 <= ratio <= 1.1 for ratio in ratios)
    print(
        f"{len(ratios)} runs: least {min(ratios):.2f}, median {np.median(ratios):.2f}, most {max(ratios):.2f}; "
        f"{within} within a tenth, {sum(ratio < 0.9 for ratio in ratios)} took more"
    )


def main() -> None:
    """Print one line a scenario."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="parts of names; all if none is given")
    parser.add_argument("--sample", type=int, metavar="N", help="so many random scenarios")
    parser.add_argument("--seed", type=int, default=0, help="of these")
    parser.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one is not None:
        _one(*chosen.one)
    elif chosen.sample is not None:
        _sample(chosen.sample, chosen.seed)
    else:
        for name in [*SCENARIOS, *READY_MADE]:
            if not chosen.names or any(part in name for part in chosen.names):
                print(f"| {name} | {_cells(measured(name))} |", flush=True)


if __name__ == "__main__":
    main()
