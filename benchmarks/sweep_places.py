"""Overhead of a sweep's runs on Ray beside processes of this machine.

``python -m benchmarks.sweep_places`` does two sweeps of short runs in each place, in turn, one run at a time: of few
runs, and of many. What a sweep takes beyond what its runs say they took is ``start + overhead · runs``; two sweeps give
both. Medians over the rounds, with the load of the machine. Needs the extra `ray`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

import sims

PLACES = ("local", "ray")


def beyond(on: str, runs: int) -> tuple[float, float]:
    """Seconds that a sweep takes beyond its runs, and seconds of a run."""
    table = {
        "scenario": "digits",
        "seeds": list(range(1, runs + 1)),
        "set": {"population.nodes": 32, "stop.rounds": 5, "evaluate.every": 5},
    }
    began = time.perf_counter()
    result = sims.sweep(table, on=on, jobs=1)
    taken = result.runs["wall_seconds"].to_list()
    return time.perf_counter() - began - sum(taken), statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--few", type=int, default=5)
    parser.add_argument("--many", type=int, default=45)
    given = parser.parse_args()
    found: dict[str, list[tuple[float, float, float]]] = {place: [] for place in PLACES}
    beyond("local", 1)  # compiles kernels, if this has not been done before
    for _ in range(given.rounds):
        for place in PLACES:
            (few, _), (many, each) = (beyond(place, runs) for runs in (given.few, given.many))
            overhead = (many - few) / (given.many - given.few)
            found[place].append((few - given.few * overhead, overhead, each))
    for place, figures in found.items():
        start, overhead, each = (statistics.median(column) for column in zip(*figures, strict=True))
        print(
            f"{place:6} starts in {start:.1f} s, adds {1e3 * overhead:.0f} ms to a run (runs of {1e3 * each:.0f} ms)"
        )
    print(f"load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
