"""The tables of docs/slow-links.md: ``python docs/make_slow_links_table.py --results FILE.jsonl``.

Authors, a node each, and their transformers; every method in every setting of slow_links_methods.py with as many
step sizes on the first seed, and with the best of them on the others. Each run is appended to the file as it ends
and not done again: the command can be stopped and continued, on another machine too, and for a part of it with
``--settings``, ``--methods``, ``--seeds`` and ``--trials``. Seconds a step are of the simulator's clock alone, in
each world: nothing is trained for them. What is not in the file is *not run* in the tables.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from make_algorithm_tables import placed
from slow_links_methods import ALONE, DILOCO, METHODS, PLAIN_DILOCO, SETTINGS, STEP_SECONDS, WORLDS, next_rate

DOCS = Path(__file__).parent
PAGE, EXAMPLES = DOCS / "slow-links.md", DOCS.parent / "examples"
MAKER = "docs/make_slow_links_table.py"
Run = dict[str, Any]


class Results:
    """Runs in a file, one a line.

    Parameters
    ----------
    file : Path
    trials : int
        Step sizes that each method has on the first seed.
    seeds : sequence of int
    """

    def __init__(self, file: Path, *, trials: int, seeds: Sequence[int]) -> None:
        self._file, self.trials, self.seeds = file, trials, seeds
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        self.runs: list[Run] = [each for each in map(json.loads, lines) if "error" not in each]

    def add(self, run: Run) -> None:
        """Append a run, and know it if it did not fail."""
        with self._file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(run) + "\n")
        if "error" not in run:
            self.runs.append(run)

    def of(self, setting: str, method: str) -> list[Run]:
        """Runs of a method in a setting, of as many steps."""
        steps = SETTINGS[setting].steps
        return [
            each
            for each in self.runs
            if (each["task"], each["method"], each.get("steps")) == (setting, method, steps)
        ]

    def tried(self, setting: str, method: str) -> tuple[dict[float, float], float | None]:
        """Losses of the step sizes on the first seed, and the one that has to be tried next, if any is left.

        Those of the setting in which step sizes were chosen, if that is another.
        """
        setting = SETTINGS[setting].tuned_in or setting
        first = {
            each["rate"]: each["loss"] for each in self.of(setting, method) if each["seed"] == self.seeds[0]
        }
        tried: dict[float, float] = {}
        while len(tried) < self.trials:
            rate = next_rate(tried)
            if rate not in first:
                return tried, rate
            tried[rate] = first[rate]
        return tried, None

    def best(self, setting: str, method: str) -> float | None:
        """The best of the step sizes that were tried."""
        tried, _ = self.tried(setting, method)
        return min(tried, key=lambda rate: tried[rate], default=None)

    def chosen(self, setting: str, method: str) -> dict[int, Run]:
        """Runs with the best step size, by seed."""
        best = self.best(setting, method)
        return {each["seed"]: each for each in self.of(setting, method) if each["rate"] == best}

    def todo(self, settings: Sequence[str], methods: Sequence[str]) -> Iterator[tuple[str, str, float, int]]:
        """What can be run now: trials on the first seed, and then, with the best, the other seeds."""
        for setting in settings:
            for method in SETTINGS[setting].able():
                if method not in methods:
                    continue
                _, rate = self.tried(setting, method)
                if rate is not None:
                    if not SETTINGS[setting].tuned_in:
                        yield setting, method, rate, self.seeds[0]
                    continue
                done, best = self.chosen(setting, method), self.best(setting, method)
                assert best is not None  # all its step sizes were tried
                yield from ((setting, method, best, seed) for seed in self.seeds if seed not in done)

    def seconds(self, setting: str, method: str) -> list[float]:
        """Seconds of a step in each world."""
        if method == ALONE:
            return [STEP_SECONDS] * len(WORLDS)
        names = list(WORLDS)
        for each in self.runs:
            if (each["task"], each["method"]) == (setting, method) and each.get("worlds") == names:
                known: list[float] = each["seconds"]
                return known
        found = seconds_a_step(setting, method)
        self.add({"task": setting, "method": method, "worlds": names, "seconds": found})
        return found


@cache
def _traces() -> Any:
    """Traced programmes of this process, for all its runs."""
    from sims.world.trace_cache import Traces

    return Traces()


def measured(setting: str, method: str, rate: float, seed: int, *, device: str, share: float) -> Run:
    """A run's last evaluation, and the perplexity of each author's text by its own model."""
    import torch
    from authors import task

    import sims

    torch.set_num_threads(1)
    if device == "cuda":
        torch.cuda.set_per_process_memory_fraction(share)
    made, began, burnt = (
        SETTINGS[setting].tables(METHODS[method], rate=rate, seed=seed),
        time.time(),
        time.process_time(),
    )
    result = sims.run(made, device=device, compile_when="always", traces=_traces())
    last, nodes = result.evaluations.to_dicts()[-1], made["population"]["nodes"]
    about = task(**made["task"]["options"])
    data = about.data()
    kept = len(data.test_inputs) // nodes
    own = [
        about.evaluate(
            result.rows[node : node + 1].cpu(),
            data.test_inputs[node * kept : (node + 1) * kept],
            data.test_targets[node * kept : (node + 1) * kept],
        )["perplexity"].item()
        for node in range(nodes)
    ]
    return {
        "task": setting,
        "method": method,
        "rate": rate,
        "seed": seed,
        "steps": SETTINGS[setting].steps,
        "loss": last["loss_mean"],
        "worst": last["loss_max"],
        "own": own,
        "bytes": last["bytes"] / nodes,
        "consensus": last["consensus_distance"],
        "device": device,
        "wall": time.time() - began,
        "cpu": time.process_time() - burnt,
    }


def seconds_a_step(setting: str, method: str, *, rounds: int = 40) -> list[float]:
    """Seconds that a step takes in each world, by the clock alone: nothing is trained."""
    from sims.running.choice import simulation_of
    from sims.scenario import load_scenario
    from sims.world import build_world

    how = METHODS[method]
    made = SETTINGS[setting].tables(how, rate=0.001, seed=0)
    made["training"]["step_seconds"] = STEP_SECONDS * how.local
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
        seconds.append(clock.seconds[-1] / (rounds * how.local))
    return seconds


def interval(numbers: Sequence[float], digits: int = 3) -> str:
    """Mean, and half of Student's 95 % interval of it where there are two numbers or more."""
    from scipy.stats import t

    mean, n = sum(numbers) / len(numbers), len(numbers)
    if n < 2:
        return f"{mean:.{digits}f}"
    deviation = math.sqrt(sum((each - mean) ** 2 for each in numbers) / (n - 1))
    return f"{mean:.{digits}f} ± {t.ppf(0.975, n - 1) * deviation / math.sqrt(n):.{digits}f}"


def mean_loss(runs: Iterable[Run]) -> float:
    """Over seeds; infinite where there is none."""
    losses = [each["loss"] for each in runs]
    return sum(losses) / len(losses) if losses else math.inf


def yardstick_of(results: Results, setting: str) -> str:
    """The method that others are compared with: the better DiLoCo, or the best of all where neither can be run."""
    able = list(SETTINGS[setting].able())
    among = [each for each in (PLAIN_DILOCO, DILOCO) if each in able] or able
    return min(among, key=lambda method: mean_loss(results.chosen(setting, method).values()))


def line(results: Results, setting: str, method: str) -> str:
    """A method: means of its seeds at the best step size, and its costs."""
    tried, _ = results.tried(setting, method)
    runs, timed = results.chosen(setting, method), SETTINGS[setting].timed
    if not runs:
        return f"| {method} | | not run | | | | | |{' |' * len(WORLDS) * timed}"
    times = "".join(f" {each:.3g} |" for each in results.seconds(setting, method)) if timed else ""
    rate = next(iter(runs.values()))["rate"]
    edge = ", edge" if rate in (min(tried), max(tried)) else ""
    there = SETTINGS[setting].tuned_in
    trials = f"{rate:g}, as of {there}" if there else f"{rate:g} of {len(tried)}{edge}"
    losses = interval([each["loss"] for each in runs.values()])
    other = yardstick_of(results, setting)
    yardstick = results.chosen(setting, other)
    common = [seed for seed in runs if seed in yardstick and method != other]
    beside = interval([runs[seed]["loss"] - yardstick[seed]["loss"] for seed in common]) if common else ""
    worst = sum(each["worst"] for each in runs.values()) / len(runs)
    own = [each["own"] for each in runs.values() if "own" in each]
    of_authors = [sum(column) / len(own) for column in zip(*own, strict=True)]
    spread = f"{min(of_authors):.2f} … {max(of_authors):.2f}" if own else ""
    sent, steps = next(iter(runs.values()))["bytes"], SETTINGS[setting].steps
    kilobytes = f"{0.0 if method == ALONE else sent / steps / 1000:,.4g}"
    seen = " | ".join([trials, losses, beside, f"{worst:.3f}", spread, str(len(runs)), kilobytes])
    return f"| {method} | {seen} |{times}"


def table(results: Results, setting: str) -> str:
    """All methods in a setting."""
    titles = [
        "method",
        "step size",
        "loss, mean",
        f"beside {yardstick_of(results, setting)}",
        "worst node",
        "perplexity of authors",
        "seeds",
        "kB a step",
        *([f"s a step, {world}" for world in WORLDS] if SETTINGS[setting].timed else []),
    ]
    rows = [line(results, setting, method) for method in SETTINGS[setting].able()]
    return "\n".join([f"| {' | '.join(titles)} |", "|---" * len(titles) + "|", *rows])


def against_bytes(results: Results, setting: str) -> str:
    """Loss against bytes: the methods that do better than all that send less."""
    seen = []
    for method in SETTINGS[setting].able():
        runs = list(results.chosen(setting, method).values())
        if runs:
            sent = 0.0 if method == ALONE else runs[0]["bytes"]
            seen.append((sent, mean_loss(runs), method))
    whole = next((sent for sent, _, method in seen if method in (DILOCO, PLAIN_DILOCO)), None)
    rows, least = [], math.inf
    for sent, loss, method in sorted(seen):
        if loss < least:
            least = loss
            part = (
                (f"1/{whole / sent:.3g}" if sent < whole else f"{sent / whole:.3g}") if whole and sent else ""
            )
            rows.append(f"| {sent / SETTINGS[setting].steps / 1000:,.4g} | {part} | {loss:.3f} | {method} |")
    title = "| kB a step | of DiLoCo's | loss, mean | method |"
    return "\n".join([title, "|---|---|---|---|", *rows])


def state(results: Results) -> str:
    """How much of every setting has been run."""
    rows = []
    for setting in SETTINGS:
        able = list(SETTINGS[setting].able())
        there = SETTINGS[setting].tuned_in
        trials = 0 if there else sum(len(results.tried(setting, method)[0]) for method in able)
        seeds = sum(len(results.chosen(setting, method)) for method in able)
        wanted = len(able) * len(results.seeds)
        said = f"{trials} of {len(able) * results.trials}" if trials else "not run"
        if there:
            said = f"as of {there}" if seeds else "not run"
        rows.append(f"| {setting} | {len(able)} | {said} | {seeds} of {wanted} |")
    return "\n".join(
        ["| setting | methods | step sizes tried | seeds with the best |", "|---|---|---|---|", *rows]
    )


def run_all(results: Results, given: argparse.Namespace) -> None:
    """Run what is not in the file; what failed is not tried again."""
    failed: set[tuple[str, str, float, int]] = set()
    running: dict[Future[Run], tuple[str, str, float, int]] = {}
    with ProcessPoolExecutor(given.processes) as pool:  # whose processes keep what they traced
        while True:
            for each in results.todo(given.settings, given.methods):
                if len(running) < given.processes and each not in failed and each not in running.values():
                    run = pool.submit(measured, *each, device=given.device, share=0.8 / given.processes)
                    running[run] = each
            if not running:
                break
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                tried, error = running.pop(done), done.exception()
                if error:
                    failed.add(tried)
                results.add({"error": repr(error)[:1000], "run": tried} if error else done.result())


def main() -> None:
    """Run what is not done, and place the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, required=True, help="file that runs are appended to")
    parser.add_argument("--settings", choices=list(SETTINGS), nargs="+", default=list(SETTINGS))
    parser.add_argument("--methods", choices=list(METHODS), nargs="+", default=list(METHODS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--trials", type=int, default=4, help="step sizes of each method")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--only-table", action="store_true", help="place the tables of what is in the file")
    parser.add_argument("--no-table", action="store_true", help="only run")
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    results = Results(given.results.resolve(), trials=given.trials, seeds=given.seeds)
    os.chdir(EXAMPLES)  # where the tasks are
    sys.path.insert(0, str(EXAMPLES))
    if not given.only_table:
        run_all(results, given)
    if not given.no_table:
        page = placed(PAGE.read_text(encoding="utf-8"), "state of the tables", state(results), by=MAKER)
        for setting in SETTINGS:
            if any(results.of(setting, method) for method in METHODS):
                made = table(results, setting)
                if SETTINGS[setting].timed:
                    made += "\n\n" + against_bytes(results, setting)
                page = placed(page, setting, made, by=MAKER)
        PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
