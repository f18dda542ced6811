"""Overhead of a sweep's runs on Ray beside processes of this machine.

    RAY_worker_niceness=0 OMP_NUM_THREADS=1 python -m benchmarks.sweep_places [--rounds 3] [--few 5] [--many 45]

Two sweeps of short runs in each place, in turn, one run at a time: of few runs, and of many. What a sweep takes beyond
what its runs say they took is ``start + overhead · runs``; two sweeps give both. Processor time is that of this process
and of all that it started, Ray's own included, for each run more: runs themselves are in it, so the difference between
the two places is what Ray costs, whatever else the machine does. Medians over the rounds, with the load of the machine.
Needs the extra `ray`, and psutil.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from contextlib import suppress

import psutil  # type: ignore[import-untyped]

import sims
from sims.cluster.ray_cluster import connected

PLACES = ("local", "ray")


def beyond(on: str, runs: int) -> tuple[float, float]:
    """Seconds that a sweep takes beyond its runs, and seconds of a run."""
    began = time.perf_counter()
    taken = swept(on, runs)
    return time.perf_counter() - began - sum(taken), statistics.median(taken)


def swept(on: str, runs: int) -> list[float]:
    """Do a sweep of so many runs; return the seconds of each."""
    table = {
        "scenario": "digits",
        "seeds": list(range(1, runs + 1)),
        "set": {"population.nodes": 32, "stop.rounds": 5, "evaluate.every": 5},
    }
    found: list[float] = sims.sweep(table, on=on, jobs=1).runs["wall_seconds"].to_list()
    return found


def busy() -> float:
    """Seconds of processor time of this process, and of all that it started and their own."""
    mine = psutil.Process()
    total = 0.0
    for process in (mine, *mine.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:4])  # those that have ended are in their parent's
    return total


def busy_each(on: str, few: int, many: int) -> float:
    """Seconds of processor time for each run more: what all runs share is in both sweeps."""
    found = []
    for runs in (few, many):
        before = busy()
        swept(on, runs)
        found.append(busy() - before)
    return (found[1] - found[0]) / (many - few)


def main() -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--few", type=int, default=5)
    parser.add_argument("--many", type=int, default=45)
    given = parser.parse_args()
    found: dict[str, list[tuple[float, float, float, float]]] = {place: [] for place in PLACES}
    beyond("local", 1)  # compiles kernels, if this has not been done before
    for _ in range(given.rounds):
        for place in PLACES:
            (few, _), (many, each) = (beyond(place, runs) for runs in (given.few, given.many))
            overhead = (many - few) / (given.many - given.few)
            start = few - given.few * overhead
            if place == "ray":
                with connected(
                    "ray", cpus=1
                ):  # one cluster for both, or its start would be in the difference
                    swept(place, 1)
                    work = busy_each(place, given.few, given.many)
            else:
                work = busy_each(place, given.few, given.many)
            found[place].append((start, overhead, each, work))
            print(
                f"{place}: {start:.1f} s, {overhead:.3f} s a run, {each:.3f} s, {work:.3f} s busy", flush=True
            )
    for place, figures in found.items():
        start, overhead, each, work = (statistics.median(column) for column in zip(*figures, strict=True))
        print(
            f"{place:6} starts in {start:.1f} s, adds {1e3 * overhead:.0f} ms to a run of {1e3 * each:.0f} ms; "
            f"{1e3 * work:.0f} ms of processor a run"
        )
    print(f"load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
