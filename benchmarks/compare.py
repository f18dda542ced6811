"""This project beside an earlier revision of it: the same benchmarks in turns, and the ratio of each.

    python benchmarks/compare.py REVISION                    # all, some twenty minutes on an idle machine
    python benchmarks/compare.py REVISION --only W1 start    # some
    python benchmarks/compare.py REVISION --repeats 5 --json figures.json
    python benchmarks/compare.py ../earlier                  # a checkout that is there, with what it compiled before

Each benchmark is run in a checkout of either revision, one after the other, ``--repeats`` times in turn; ratios are of
the best of each, and above one where this checkout is faster. Where one thread computes, its processor time is measured,
which other work on the machine disturbs less than the clock.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def output(checkout, *command):
    """What a benchmark of a checkout prints."""
    known = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(checkout)}
    shell = [sys.executable, *map(str, command)]
    return subprocess.run(shell, cwd=checkout, env=known, capture_output=True, text=True, check=True).stdout


def processor_seconds(checkout, *command):
    """What a process of a checkout takes, its children included."""
    begun = resource.getrusage(resource.RUSAGE_CHILDREN)
    output(checkout, *command)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime - begun.ru_utime - begun.ru_stime


def updates(workload, nodes, rounds):
    """Updates per second of processor time, without evaluation."""

    def measured(checkout):
        script = "benchmarks/simulator_contestants/ours.py"
        out = output(checkout, script, workload, nodes, rounds, "--evaluate-every", 0)
        line = next(line for line in out.splitlines() if line.startswith("FIGURES "))
        return json.loads(line.removeprefix("FIGURES "))["updates_per_cpu_second"]

    return measured


def printed(pattern, *command):
    """One over the time that a benchmark prints."""

    def measured(checkout):
        found = re.search(pattern, output(checkout, *command))
        return 1 / float(found[1])

    return measured


ROUNDS = """
import time
import torch
from benchmarks import algorithms

torch.set_num_threads(1)
each, = [c for c in algorithms.CONTESTANTS if (c.name, c.network) == ("D-PSGD", "NETWORK")]
simulation = algorithms.simulation(each, 10_000, "always")
simulation.advance(15, between=lambda: False)  # whatever is made on first use, and a whole period
best = float("inf")
for turn in range(4):
    started = time.process_time()
    simulation.advance(20 + 5 * turn, between=lambda: False)
    best = min(best, (time.process_time() - started) / 5)
print(best)
"""


def rounds(network):
    """Rounds of D-PSGD per second of processor time: the same lines in either checkout."""

    def measured(checkout):
        return 1 / float(output(checkout, "-c", ROUNDS.replace("NETWORK", network)).split()[-1])

    return measured


def mixed(checkout):
    """Gather rate of mixing with one thread, GB/s."""
    out = output(checkout, "-m", "benchmarks.mixing", "--nodes", 10_000)
    return float(re.search(r"compiled, (?:1 threads|one thread): ([\d.]+) GB/s", out)[1])


def exchanged(checkout):
    """Exchanges of 1 MB, by those of a bare libp2p stream which takes turns with them."""
    out = output(checkout, "benchmarks/exchange.py", "--only", "goodput", "--rounds", 2, "--json")
    (row,) = [row for row in json.loads(out)["goodput"] if row["size"] == "1 MB"]
    kinds = row["kinds"]
    return {
        "exchange, goodput": row["ratio_to_libp2p_stream"],
        "exchange, processor": kinds["libp2p stream"]["cpu_s_per_gb"] / kinds["exchange"]["cpu_s_per_gb"],
    }


def steps(checkout):
    """One over the processor seconds of each step of `benchmarks/steps.py`, all in one process."""
    lines = output(checkout, HERE / "benchmarks" / "steps.py").splitlines()
    return {name: 1 / seconds for name, seconds in json.loads(lines[-1]).items()}


def command(*given):
    """One over the processor seconds of a command."""
    return lambda checkout: 1 / processor_seconds(checkout, *given)


def analysed(checkout):
    """One over the processor seconds of analysis and report of a run with 100 evaluations of 200 nodes."""
    with tempfile.TemporaryDirectory() as folder:
        run, page = f"{folder}/run", f"{folder}/page.html"
        sizes = ["population.nodes=200", "stop.rounds=100", "evaluate.every=1", "evaluate.per_node=true"]
        settings = [word for size in sizes for word in ("--set", size)]
        output(checkout, "-m", "gossipfl", "sim", "run", "digits", *settings, "--out", run, "--threads", 1)
        return 1 / processor_seconds(
            checkout, "-m", "gossipfl", "analyze", run, "--pooled", "none", "--report", page
        )


def started(checkout):
    """One over the processor seconds of a process that runs a ready scenario for one round."""
    with tempfile.TemporaryDirectory() as folder:
        scenario = [
            "sim",
            "run",
            "digits",
            "--set",
            "stop.rounds=1",
            "--out",
            f"{folder}/run",
            "--threads",
            "1",
        ]
        return 1 / processor_seconds(checkout, "-m", "gossipfl", *scenario)


TRANSFORMER = ["-m", "benchmarks.transformer", "--nodes", 48, "--repeats", 3]
BENCHMARKS = {
    "start": started,
    "W1, N = 1,000": updates("W1", 1000, 200),
    "W1, N = 100": updates("W1", 100, 1000),
    "W2, N = 1,000": updates("W2", 1000, 40),
    "W2, N = 100": updates("W2", 100, 200),
    "D-PSGD, 20-regular": rounds("20-regular"),
    "D-PSGD, one-peer": rounds("one-peer"),
    "mixing": mixed,
    "transformer": printed(r"simulator +([\d.]+)", *TRANSFORMER),
    "exchange": exchanged,
    "import": command("-c", "import sims, gossipfl.peer.peer"),
    "help": command("-m", "gossipfl", "--help"),
    "analysis": analysed,
    "steps": steps,
}


@contextlib.contextmanager
def checkout_of(revision):
    """A checkout of an earlier revision, meanwhile; or one that is there."""
    if Path(revision).is_dir():
        yield Path(revision).resolve()
        return
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "earlier"
        subprocess.run(
            ["git", "worktree", "add", "--detach", place, revision], cwd=HERE, check=True, capture_output=True
        )
        try:
            yield place
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", place], cwd=HERE, check=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("revision")
    parser.add_argument("--only", nargs="+", default=[], help="benchmarks whose names begin so")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    chosen = {
        name: measured
        for name, measured in BENCHMARKS.items()
        if not arguments.only or name.startswith(tuple(arguments.only))
    }
    if not chosen:
        parser.error(f"no such benchmark; there are {'; '.join(BENCHMARKS)}")
    everything = {}
    print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; this checkout ÷ {arguments.revision}",
        flush=True,
    )
    with checkout_of(arguments.revision) as earlier:
        for name, measured in chosen.items():
            found = {}
            for turn in range(arguments.repeats):
                ways = (("then", earlier), ("now", HERE))
                for way, checkout in ways if turn % 2 else ways[::-1]:
                    measurement = measured(checkout)
                    each = measurement if isinstance(measurement, dict) else {name: measurement}
                    for step, rate in each.items():
                        found.setdefault(step, {"now": [], "then": []})[way].append(rate)
            for step, rates in found.items():
                now, then = max(rates["now"]), max(rates["then"])
                print(f"{step:36} {now / then:6.2f}   ({then:,.4g} then, {now:,.4g} now)", flush=True)
            everything |= found
    if arguments.json:
        arguments.json.write_text(json.dumps(everything, indent=2))


if __name__ == "__main__":
    main()
