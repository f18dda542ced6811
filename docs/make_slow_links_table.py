"""The table of methods in docs/slow-links.md: ``python docs/make_slow_links_table.py --results FILE.jsonl``.

Sixteen authors, a node each, and their transformers; every method with the best of the same step sizes, by the
mean loss of all models on all authors' test texts. Each run is appended to the file as it ends and not done again:
the command can be stopped, and continued with ``--seeds 0 1 2``, on another machine too. Seconds a step are of the
simulator's clock alone, in each world.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

from make_algorithm_tables import placed

DOCS = Path(__file__).parent
PAGE, EXAMPLES = DOCS / "slow-links.md", DOCS.parent / "examples"
NODES, H, ALONE = 16, 20, "alone"
PAIRS, ALL = "random_matching", {"average": "all-reduce"}
STREAMED = {"fragments": 4, "overlap": 2, "codec": "qsgd:7:128"}
NOLOCO = {"momentum": 0.5, "nesterov": False, "pull": 0.1}
METHODS: dict[str, tuple[str, str, dict[str, Any], int]] = {
    "all-reduce each step": ("diloco", "", {**ALL, "momentum": 0.0, "outer_rate": 1.0}, 1),
    "DiLoCo, all-reduce": ("diloco", "", ALL, H),
    "D-PSGD, ring": ("d_psgd", "ring", {}, 1),
    "SAPS, 10 %, pairs": ("saps", PAIRS, {"share": 0.1}, 1),
    "NoLoCo, pairs": ("noloco", PAIRS, {}, H),
    "GASLoC, γ = 0.3, η = 1, pairs": ("gasloc", PAIRS, {"momentum": 0.3, "outer_rate": 1.0}, H),
    "SparseLoCo, pull 1 %, pairs": ("sparseloco", PAIRS, {"pull": 0.01}, H),
    "streaming as DiLoCo, 4 bits, all-reduce": ("streaming", "", {**STREAMED, **ALL}, H // 4),
    "streaming as NoLoCo, 4 bits, pull 10 %, pairs": ("streaming", PAIRS, {**STREAMED, **NOLOCO}, H // 4),
    ALONE: ("saps", PAIRS, {"share": 1e-9}, H),  # a single number is sent
}
RATES = (0.003, 0.001, 0.01)
WORLDS: dict[str, dict[str, Any]] = {
    "1 Gbit/s": {"delay": {"seconds": 0.01}, "links": {"up": 1000, "down": 1000}},
    "100/20": {"delay": {"seconds": 0.03}, "links": {"up": 20, "down": 100}},
    "100/20, 10 % slow": {"delay": {"seconds": 0.03}, "links": {"up": 20, "down": 100, "slow": 0.1}},
    "14 cities": {
        "delay": {"kind": "matrix", "file": "cities14"},
        "links": {"file": "cities14", "up": 100, "down": 100},
    },
}
STEP_SECONDS = 0.5
TASKS: dict[str, tuple[dict[str, Any], int]] = {
    "characters": ({"name": "authors:task", "partition": "natural"}, 4),
    "words": (
        {"name": "authors:task", "partition": "natural", "options": {"text": "sotu", "unit": "words"}},
        4,
    ),
}


def tables(method: str, *, task: str, rate: float, seed: int, steps: int) -> dict[str, Any]:
    """The scenario of a run."""
    algorithm, topology, parameters, local = METHODS[method]
    described, batch = TASKS[task]
    made: dict[str, Any] = {
        "seed": seed,
        "population": {"nodes": NODES},
        "task": described,
        "algorithm": {"name": algorithm, **parameters},
        "training": {"optimiser": "adamw", "learning_rate": rate, "batch_size": batch, "local_steps": local},
        "evaluate": {"every": max(1, steps // local // 2), "samples": 400},
        "stop": {"rounds": steps // local},
        "output": {"rows": False},
    }
    if topology:
        made["topology"] = {"name": topology}
    return made


def measured(method: str, *, task: str, rate: float, seed: int, steps: int, device: str) -> dict[str, Any]:
    """A run's last evaluation."""
    import torch

    import sims

    torch.set_num_threads(1)
    if device == "cuda":
        torch.cuda.set_per_process_memory_fraction(0.06)
    began = time.time()
    result = sims.run(tables(method, task=task, rate=rate, seed=seed, steps=steps), device=device)
    last = result.evaluations.to_dicts()[-1]
    return {
        "method": method,
        "task": task,
        "rate": rate,
        "seed": seed,
        "steps": steps,
        "loss": last["loss_mean"],
        "worst": last["loss_max"],
        "bytes": last["bytes"] / NODES,
        "consensus": last["consensus_distance"],
        "device": device,
        "wall": time.time() - began,
    }


def seconds_a_step(method: str, *, task: str, rounds: int = 40) -> list[float]:
    """Seconds that a step takes in each world, by the clock alone: nothing is trained."""
    from sims.running.choice import simulation_of
    from sims.scenario import load_scenario
    from sims.world import build_world

    made = tables(method, task=task, rate=RATES[0], seed=0, steps=H)
    local = made["training"]["local_steps"]
    made["training"]["step_seconds"] = STEP_SECONDS * local
    world, seconds = build_world(load_scenario(made)), []
    for network in WORLDS.values():
        scenario = load_scenario({**made, "network": network})
        there = replace(world, scenario=scenario)
        simulation = simulation_of(scenario, there, threads=1, compile_when="never", device="cpu")
        clock = simulation.engine.clock  # type: ignore[union-attr]
        assert clock is not None
        for number in range(rounds):
            clock.round(number)
        simulation.close()
        seconds.append(clock.seconds[-1] / (rounds * local))
    return seconds


def jobs(task: str, seeds: list[int], known: list[dict[str, Any]]) -> Iterator[tuple[str, float, int]]:
    """Runs that are not done: first every step size on the first seed, then the best on the others."""
    done = {(each["method"], each["rate"], each["seed"]) for each in known if each["task"] == task}
    for rate in RATES:
        yield from ((name, rate, seeds[0]) for name in METHODS if (name, rate, seeds[0]) not in done)
    for seed in seeds[1:]:
        for name in METHODS:
            rate = best_of(known, name, task)
            if rate is not None and (name, rate, seed) not in done:
                yield name, rate, seed


def best_of(known: list[dict[str, Any]], method: str, task: str) -> float | None:
    """The step size with the lowest loss on the first seed, of those that all methods had; None without any."""
    seed = min((each["seed"] for each in known if each["task"] == task), default=0)
    first = [each for each in known if each["task"] == task and each["seed"] == seed]
    tried = [{each["rate"] for each in first if each["method"] == name} for name in METHODS]
    alike = set.intersection(*tried)
    own = [each for each in first if each["method"] == method and each["rate"] in alike]
    best: float | None = min(own, key=lambda each: each["loss"])["rate"] if own else None
    return best


def line(method: str, task: str, known: list[dict[str, Any]]) -> str:
    """A method: the mean of its seeds at the best step size, and its costs."""
    rate = best_of(known, method, task)
    alone = [STEP_SECONDS] * len(WORLDS)
    times = [f"{each:.3g}" for each in (alone if method == ALONE else seconds_a_step(method, task=task))]
    own = [each for each in known if (each["method"], each["task"], each["rate"]) == (method, task, rate)]
    if rate is None or not own:
        return f"| {method} | — | not run | | | {' | '.join(times)} |"
    losses = [each["loss"] for each in own]
    spread = f" ± {(max(losses) - min(losses)) / 2:.3f}" if len(losses) > 1 else ""
    worst = sum(each["worst"] for each in own) / len(own)
    sent = 0.0 if method == ALONE else own[0]["bytes"] / own[0]["steps"] / 1000
    loss = f"{sum(losses) / len(losses):.3f}{spread}"
    return f"| {method} | {rate:g} | {loss} | {worst:.3f} | {sent:,.4g} | {' | '.join(times)} |"


def table(task: str, known: list[dict[str, Any]]) -> str:
    """All methods on a task."""
    titles = (
        "method",
        "step size",
        "loss, mean",
        "worst node",
        "kB a step",
        *(f"s a step, {w}" for w in WORLDS),
    )
    rows = [line(method, task, known) for method in METHODS]
    return "\n".join([f"| {' | '.join(titles)} |", "|---" * len(titles) + "|", *rows])


def main() -> None:
    """Run what is not done, and place the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, required=True, help="file that runs are appended to")
    parser.add_argument("--task", choices=list(TASKS), default="characters")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--only-table", action="store_true", help="place the table of what is in the file")
    parser.add_argument("--no-table", action="store_true", help="only run")
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    results = given.results.resolve()
    os.chdir(EXAMPLES)  # where the tasks are
    sys.path.insert(0, str(EXAMPLES))

    def known() -> list[dict[str, Any]]:
        lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
        return [
            each for each in map(json.loads, lines) if "error" not in each and each["steps"] == given.steps
        ]

    for _ in range(0 if given.only_table else 2):  # then the seeds whose step size is known only now
        todo = list(jobs(given.task, given.seeds, known()))
        with ProcessPoolExecutor(given.processes) as pool:
            runs = {
                pool.submit(
                    measured,
                    name,
                    task=given.task,
                    rate=rate,
                    seed=seed,
                    steps=given.steps,
                    device=given.device,
                ): (name, rate, seed)
                for name, rate, seed in todo
            }
            for run in as_completed(runs):
                error = run.exception()
                found = {"error": repr(error)[:1000], "run": runs[run]} if error else run.result()
                with results.open("a", encoding="utf-8") as out:
                    out.write(json.dumps(found) + "\n")
    if not given.no_table:
        page = PAGE.read_text(encoding="utf-8")
        made = placed(page, given.task, table(given.task, known()), by="docs/make_slow_links_table.py")
        PAGE.write_text(made, encoding="utf-8")


if __name__ == "__main__":
    main()
