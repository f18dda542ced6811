"""Pace and memory of W1 with models in memory, in few bits, and in a file, by how many nodes are awake.

python -m benchmarks.paged --nodes 1000000                        # each in turn
python -m benchmarks.paged --nodes 10000000 --only file/int8      # some 9 GB in a file
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

KINDS = {
    "memory": "{{}}",
    "memory/int8": "{{rows='int8'}}",
    "file": "{{paged_to='{directory}'}}",
    "file/int8": "{{rows='int8',paged_to='{directory}'}}",
}
CHARGING = 0.77  # of the phones that are on duty, at midnight
SCENARIO = """
[population]
nodes = {nodes}
[task]
name = "ours:workload"
options = {{ name = "W1" }}
samples_per_node = 20
[topology]
name = "complete"
[algorithm]
name = "gossip_learning"
weighting = "plain"
[training]
learning_rate = 0.5
[evaluate]
nodes = 1000
"""


class Anonymous:
    """The most memory that the system could not take back, in bytes, looked at ten times a second."""

    def __init__(self) -> None:
        self.most, self._ended = 0, threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._ended.wait(0.1):
            self.look()

    def look(self) -> None:
        """Look now."""
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        now = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))
        self.most = max(self.most, now)


def measured(kind: str, *, nodes: int, rounds: float, awake: float, directory: Path, threads: int) -> dict:
    """Run one of them in this process."""
    sys.path.insert(0, str(Path(__file__).parent / "simulator_contestants"))
    watch, started = Anonymous(), time.perf_counter()
    from sims.running.choice import simulation_of
    from sims.scenario import parse_scenario
    from sims.world import build_world

    overrides = [f"engine={KINDS[kind].format(directory=directory)}"]
    if awake < 1:
        overrides += [f"churn.process={{kind='charging',duty={awake / CHARGING}}}", "network.choose=online"]
    scenario = parse_scenario(SCENARIO.format(nodes=nodes), overrides=overrides)
    world = build_world(scenario)
    simulation = simulation_of(scenario, world, threads=threads, compile_when="always", device="cpu")
    first = min(1.0, rounds) / 10
    simulation.advance(first, between=lambda: False)
    setup, before = time.perf_counter() - started, simulation.phases.updates
    started, processor = time.perf_counter(), time.process_time()
    simulation.advance(first + rounds, between=lambda: False)
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    watch.look()
    updates = simulation.phases.updates - before
    return {
        "setup": setup,
        "seconds": seconds,
        "updates": updates,
        "a_second": updates / seconds,
        "a_cpu_second": updates / processor,
        "awake": float(simulation.online().mean()),
        "anonymous": watch.most,
        "resident": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def main() -> None:
    """Print one line a measurement, each from a process of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=float, default=3)
    parser.add_argument("--awake", type=float, nargs="+", default=[1.0, 0.1])
    parser.add_argument("--only", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--one", action="store_true", help="in this process")
    given = parser.parse_args()
    if given.one:
        found = measured(
            given.only[0],
            nodes=given.nodes,
            rounds=given.rounds,
            awake=given.awake[0],
            directory=given.directory,
            threads=given.threads,
        )
        print(json.dumps(found))
        return
    for awake in given.awake:
        for kind in given.only:
            command = [
                sys.executable,
                "-m",
                "benchmarks.paged",
                "--one",
                "--only",
                kind,
                "--awake",
                str(awake),
            ]
            rounds = given.rounds if awake == 1 else given.rounds / awake / 2
            more = [
                "--nodes", given.nodes, "--rounds", rounds, "--directory", given.directory, "--threads", given.threads
            ]  # fmt: skip
            out = subprocess.run(
                [*command, *map(str, more)], check=True, stdout=subprocess.PIPE, text=True
            ).stdout
            found = json.loads(out.splitlines()[-1])
            print(
                f"{given.nodes:,} nodes, {100 * found['awake']:.0f} % awake, {kind}: {found['a_second']:,.0f} updates/s, "
                f"{found['a_cpu_second']:,.0f} a second of the processor ({found['updates']:,} in {found['seconds']:.0f} s "
                f"after {found['setup']:.0f} s); {found['anonymous'] / 1e9:.2f} GB of memory, with pages of files "
                f"{found['resident'] / 1e9:.2f} GB",
                flush=True,
            )


if __name__ == "__main__":
    main()
