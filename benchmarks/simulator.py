"""Speed of the simulator, beside other simulators and a hand-written loop.

    python benchmarks/simulator.py                     # everything that takes minutes
    python benchmarks/simulator.py --only speed growth
    python benchmarks/simulator.py --only million      # W1 with 1,000,000 nodes, 10 rounds

Every contestant runs in a process of its own, one after the other, `--repeats` times in turn; ratios are of the best
of each. gossipy-dfl and decent-bench get environments of their own under ``.benchmarks/`` and are skipped, with a
message, where they cannot be installed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
CONTESTANTS = HERE / "simulator_contestants"
ENVIRONMENTS = HERE.parent / ".benchmarks"
TORCH = "torch>=2.6,<2.14"


def environment(name, python, *installs):
    """Python of an environment with these packages, made if need be; None, and why, where it cannot be."""
    folder = ENVIRONMENTS / name
    executable, ready = folder / "bin" / "python", folder / ".ready"
    if ready.exists():
        return executable
    if python is None:
        print(f"  {name} is skipped: it needs a Python that is not installed here")
        return None
    try:
        subprocess.run([python, "-m", "venv", folder], check=True, capture_output=True)
        for install in installs:
            command = [executable, "-m", "pip", "install", "--quiet", *install]
            subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = str(getattr(error, "stderr", "") or error).strip().splitlines()
        print(f"  {name} is skipped: it could not be installed ({said[-1] if said else error})")
        return None
    ready.touch()
    return executable


def python_for_decent_bench():
    """A Python of at least 3.13, as decent-bench needs."""
    if sys.version_info >= (3, 13):
        return sys.executable
    found = sorted(Path.home().glob(".pyenv/versions/3.1[3-9]*/bin/python"))
    return str(found[-1]) if found else shutil.which("python3.13")


def others():
    """Scripts and environments of the other simulators that can be had."""
    needs = [
        TORCH,
        "numpy",
        "scipy",
        "pandas",
        "scikit-learn",
        "rich",
        "requests",
        "matplotlib",
        "dill",
        "networkx",
        "pyparsing",
    ]
    gossipy = environment("gossipy", sys.executable, needs, ["--no-deps", "gossipy-dfl"])
    decent = environment(
        "decent", python_for_decent_bench(), [TORCH, "decent-bench", "scikit-learn", "networkx"]
    )
    found = {"gossipy": ("peers_gossipy.py", gossipy), "decent-bench": ("peers_decent_bench.py", decent)}
    return {name: (script, python) for name, (script, python) in found.items() if python}


def figures(script, *arguments, python=None, limit=1800):
    """Run a contestant and return its figures; None, and why, if it fails."""
    command = [str(python or sys.executable), str(CONTESTANTS / script), *map(str, arguments)]
    surroundings = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=limit, env=surroundings, check=True
        )
        line = next(line for line in done.stdout.splitlines() if line.startswith("FIGURES "))
    except (subprocess.SubprocessError, StopIteration) as error:
        said = str(getattr(error, "stderr", "") or error).strip().splitlines()
        print(f"  {script} {' '.join(map(str, arguments))} failed: {said[-1] if said else error}")
        return None
    return json.loads(line.removeprefix("FIGURES "))


def best(contestants, repeats):
    """Best figures of each contestant, taken in turns so that a busy spell of the machine hits all alike."""
    found = {}
    for _ in range(repeats):
        for name, run in contestants.items():
            came = run()
            if (
                came
                and came["updates_per_second"]
                > found.get(name, {"updates_per_second": 0})["updates_per_second"]
            ):
                found[name] = came
    return found


def speed(repeats, results):
    """Ratios to the others and to the hand-written loop."""
    available, cores = others(), os.cpu_count() or 1
    plan = [("W1", 1000, 200, 10), ("W1", 100, 1000, 20), ("W2", 1000, 40, 5), ("W2", 100, 200, 20)]
    for workload, nodes, rounds, rounds_of_others in plan:

        def run(script, rounds, *options, python=None, workload=workload, nodes=nodes):
            return lambda: figures(script, workload, nodes, rounds, *options, python=python)

        contestants = {"ours": run("ours.py", rounds), "hand-written": run("ceiling.py", rounds)}
        if cores > 1:
            contestants |= {
                f"{name}, {cores} threads": run(script, rounds, "--threads", cores)
                for name, script in (("ours", "ours.py"), ("hand-written", "ceiling.py"))
            }
        for name, (script, python) in available.items():
            contestants[name] = run(script, max(10, rounds_of_others), python=python)
        found = best(contestants, repeats)
        results[f"{workload} N={nodes}"] = found
        print(f"{workload}, N = {nodes:,}, evaluation every 10 rounds:")
        _compare(found, "ours", against=("hand-written", *available))
        _compare(found, f"ours, {cores} threads", against=(f"hand-written, {cores} threads", *available))


def _compare(found, name, *, against):
    """Ratios of one contestant's figures to those of others."""
    if name not in found:
        return
    ours, key = found[name], "updates_per_second_without_evaluation"
    print(
        f"  {name}: {ours['updates_per_second']:,.0f} updates/s; without evaluation {ours[key]:,.0f}; accuracy {ours['accuracy']:.3f}"
    )
    for other in against:
        if other not in found:
            continue
        came = found[other]
        line = f"    {ours['updates_per_second'] / came['updates_per_second']:8.2f} × {other} ({came['updates_per_second']:,.0f}"
        if key in came:
            line += f"; without evaluation {came[key]:,.0f}, {ours[key] / came[key]:.2f} ×"
        print(f"{line}; accuracy {came['accuracy']:.3f})")


def phases(results):
    """Where the time goes."""
    for workload, rounds in (("W1", 100), ("W2", 20)):
        came = figures("ours.py", workload, 1000, rounds, "--shares")
        if came:
            results[f"shares {workload}"] = came["shares"]
            print(f"{workload}, N = 1,000, shares of the time without evaluation: {came['shares']}")


def growth(results):
    """Updates a second at 10⁵ nodes against 10⁴, and memory a node."""
    found = {}
    for nodes, rounds in ((10_000, 20), (100_000, 10)):
        found[nodes] = figures("ours.py", "W1", nodes, rounds, "--evaluate-nodes", 1000)
    results["growth"] = found
    if all(found.values()):
        ratio = found[100_000]["updates_per_second"] / found[10_000]["updates_per_second"]
        print(f"growth: updates/s at N = 100,000 over those at 10,000: {ratio:.2f}")
        for nodes, came in found.items():
            print(f"  N = {nodes:,}: {came['updates_per_second']:,.0f} updates/s; {_memory(came)}")


def _memory(came):
    return (
        f"table {came['table_bytes_per_node']:,} bytes a node, {came['table_bytes_per_node'] / came['row_bytes']:.2f} × its "
        f"row; indices {came['index_bytes_per_node']}; peak {came['peak_mib']:,.0f} MiB"
    )


def threads(results):
    """What a second core gives."""
    found = {count: figures("ours.py", "W2", 1000, 40, "--threads", count) for count in (1, 2)}
    results["threads"] = found
    if all(found.values()):
        ratio = found[2]["updates_per_second"] / found[1]["updates_per_second"]
        print(f"threads: W2, N = 1,000, two threads over one: {ratio:.2f}")


def million(results):
    """W1 with a million nodes."""
    came = figures("ours.py", "W1", 1_000_000, 10, "--evaluate-nodes", 1000, "--threads", os.cpu_count() or 1)
    results["million"] = came
    if came:
        print(
            f"N = 1,000,000, 10 rounds: {came['seconds']:.0f} s after {came['setup_seconds']:.0f} s of setting up, "
            f"{came['updates_per_second']:,.0f} updates/s; {_memory(came)}"
        )


def card(results):
    """The same on a GPU, and which share of its memory's rate the merge phase reaches."""
    import torch

    if not torch.cuda.is_available():
        print("gpu: skipped, there is none")
        return
    results["gpu"] = torch.cuda.get_device_name()
    copied = copy_rate()
    results["gpu copy"] = copied
    print(f"gpu: {results['gpu']}, which copies {copied / 1e12:.2f} TB/s (read and written)")
    for nodes in (100_000, 1_000_000):
        for workload in ("W1", "W2"):
            came = figures("ours.py", workload, nodes, 10, "--device", "cuda", "--evaluate-nodes", 1000)
            results[f"gpu {workload} {nodes}"] = came
            if came:
                speed = f"{came['updates_per_second_without_evaluation']:,.0f} updates/s without evaluation"
                print(f"gpu: {workload}, N = {nodes:,}: {came['updates_per_second']:,.0f} updates/s, {speed}")
    for workload in ("W1", "W2"):
        came = figures("ours.py", workload, 1_000_000, 10, "--device", "cuda", "--merge")
        results[f"gpu merge {workload}"] = came
        if came:
            share = came["merge_bytes_per_second"] / copied
            print(
                f"gpu: merging alone, {workload}, N = 1,000,000: {came['merge_bytes_per_second'] / 1e12:.2f} TB/s of rows "
                f"read and written, {share:.2f} of the copy's"
            )
    shell = [sys.executable, "-m", "benchmarks.transformer", "--device", "cuda"]
    subprocess.run(shell, check=False, cwd=HERE.parent)


def copy_rate():
    """Bytes a second, read and written, of copies of 2 GiB on the card."""
    import torch

    source = torch.empty(1 << 29, device="cuda")
    target = torch.empty_like(source)
    rates = []
    for _ in range(10):
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        began.record()
        target.copy_(source)
        ended.record()
        torch.cuda.synchronize()
        rates.append(2 * source.nbytes / began.elapsed_time(ended) * 1e3)
    return sorted(rates)[len(rates) // 2]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    usual = ["speed", "phases", "growth", "threads"]
    parser.add_argument("--only", nargs="+", choices=[*usual, "million", "gpu"], default=usual)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    arguments = parser.parse_args()
    results = {"load": os.getloadavg(), "cores": os.cpu_count()}
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    parts = {
        "speed": lambda: speed(arguments.repeats, results),
        "phases": lambda: phases(results),
        "growth": lambda: growth(results),
        "threads": lambda: threads(results),
        "million": lambda: million(results),
        "gpu": lambda: card(results),
    }
    for name in arguments.only:
        parts[name]()
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
