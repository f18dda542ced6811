"""Memory estimates of simulations beside the most that each takes, in a process of its own.

Twice: in a first run of its model and algorithm, and in a later one, which finds what the first has traced.

python -m benchmarks.memory_estimates              # all of them
python -m benchmarks.memory_estimates privacy int  # those whose names contain one of these
"""

from __future__ import annotations

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

from benchmarks.memory_scenarios import READY_MADE, SCENARIOS
from gossipfl.caches import cache_directory

if TYPE_CHECKING:
    from sims.running import SimulationMaker
    from sims.sharding.crew import Crew
    from sims.sharding.shard import ShardTask
    from sims.world import World

__all__ = ["main", "measured"]

_MEASURES = "first", "later"


def measured(name: str) -> dict[str, tuple[float, float]]:
    """Estimated and greatest memory of a first and a later run, in bytes."""
    command = [sys.executable, "-m", "benchmarks.memory_estimates", "--one", name]
    kernels = os.environ.get("NUMBA_CACHE_DIR", str(cache_directory() / "kernels"))
    with tempfile.TemporaryDirectory() as caches:
        known = {**os.environ, "XDG_CACHE_HOME": caches, "NUMBA_CACHE_DIR": kernels}
        lines = [
            subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=known).stdout
            for _ in _MEASURES
        ]
    found = [json.loads(line.splitlines()[-1]) for line in lines]
    return {each: (one["estimated"], one["taken"]) for each, one in zip(_MEASURES, found, strict=True)}


def _one(name: str) -> None:
    import sims

    given = READY_MADE.get(name) or SCENARIOS[name]
    options = dict(each.removeprefix("--").partition("=")[::2] for each in given if each.startswith("--"))
    estimates: list[int] = []
    of_shards: list[int] = []
    with tempfile.TemporaryDirectory() as folder, _shards(options.get("shards"), of_shards) as simulated_by:
        overrides = [each for each in given if not each.startswith("--")]
        if "trace" in options:
            overrides.append(f"churn.process={{kind='trace',file='{_trace(Path(folder), _nodes(given))}'}}")
        sims.run(
            name if name in READY_MADE else "digits",
            overrides=overrides,
            out=Path(folder) / "out" if "out" in options else None,
            threads=int(options.get("threads", 1)),
            compile_when=options.get("compile", "never"),
            on_progress=lambda progress: estimates.append(progress.memory.total),
            simulated_by=simulated_by,
        )
        taken = max(of_shards, default=_most(os.getpid()))
    print(json.dumps({"estimated": estimates[0], "taken": taken}))


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


def _nodes(given: tuple[str, ...]) -> int:
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


def main() -> None:
    """Print one line a scenario."""
    if sys.argv[1:2] == ["--one"]:
        _one(sys.argv[2])
        return
    for name in [*SCENARIOS, *READY_MADE]:
        if sys.argv[1:] and not any(part in name for part in sys.argv[1:]):
            continue
        found = measured(name)
        cells = [
            f"{estimated / 1e6:,.0f} | {taken / 1e6:,.0f} | {estimated / taken:.2f}"
            for estimated, taken in found.values()
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
