"""Algorithm × topology × heterogeneity: run the two ready-made sweeps and write docs/algorithm-table.md.

    python -m benchmarks.algorithm_table [--out algorithm-table] [--jobs N] [--no-run | --only-bytes]

The sweeps are `algorithms` and `algorithms-own-networks`. What is finished in --out is kept, so the command can be
interrupted and given again; the tables are written anew every minute, with what there is by then. What is sent depends
neither on step sizes nor on who has which samples: --only-bytes runs one task of each data set, untuned, and replaces
only that part of the page.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path

import polars as pl

import sims
from sims.metrics.intervals import mean_interval

ROOT = Path(__file__).parent.parent
SWEEPS = ("algorithms", "algorithms-own-networks")
EVERY_SECONDS = 60.0
MISSING = "…"
OF_EACH_MODEL = ("digits, iid", "pendigits, shards:2")
SENT, AFTER_SENT = "## Megabytes sent by a node\n", "## What was refused, and why\n"


def runs_of(out):
    """Runs of both sweeps so far: label of the algorithm, task and topology, and what was measured."""
    tables = []
    for sweep in SWEEPS:
        file = out / sweep / "runs.parquet"
        if file.exists():
            table = pl.read_parquet(file)
            if "topology" not in table.columns:
                table = table.with_columns(pl.lit("its own").alias("topology"))
            tables.append(table)
    return pl.concat(tables, how="diagonal_relaxed") if tables else pl.DataFrame()


def edges_of(out):
    """Points whose step size was the smallest or largest tried."""
    found = set()
    for sweep in SWEEPS:
        file = out / sweep / "summary.json"
        if file.exists():
            for entry in json.loads(file.read_text())["points"]:
                values = entry["values"]
                if entry.get("tuned_at_edge") and entry["finished"]:
                    found.add((values["variant"], values["task"], values.get("topology", "its own")))
    return found


class Tables:
    """Cells and tables of what has been run so far."""

    def __init__(self, out):
        self.runs, self.edges = runs_of(out), edges_of(out)
        self.planned = [(sweep, sims.load_sweep(sweep)) for sweep in SWEEPS]

    def names(self, key, sweep):
        values = dict(self.planned)[sweep].grid.get(key, ())
        return [value["label"] for value in values] or ["its own"]

    def of(self, variant, task, topology):
        return self.runs.filter(
            (pl.col("variant") == variant) & (pl.col("task") == task) & (pl.col("topology") == topology)
        )

    def cell(self, variant, task, topology, show):
        runs = self.of(variant, task, topology) if len(self.runs) else self.runs
        if not len(runs):
            return MISSING
        if runs["state"][0] == "impossible":
            return "refused"
        finite = runs.filter(pl.col("score").is_not_null())
        if not len(finite):
            return "diverged" if (runs["state"] == "finished").all() else "failed"
        text = show(finite)
        if len(finite) < len(runs):
            text += f" ({len(runs) - len(finite)} of {len(runs)} diverged)"
        return text + ("*" if (variant, task, topology) in self.edges else "")

    def table(self, sweep, task, show):
        variants = [variant["label"] for variant in dict(self.planned)[sweep].variant]
        topologies = self.names("topology", sweep)
        lines = [
            f"| algorithm | {' | '.join(topologies)} |",
            f"|-|{'-|' * len(topologies)}",
        ]
        for variant in variants:
            cells = [self.cell(variant, task, topology, show) for topology in topologies]
            lines.append(f"| {variant} | {' | '.join(cells)} |")
        return "\n".join(lines)

    def own_table(self, tasks, show):
        variants = [variant["label"] for variant in dict(self.planned)[SWEEPS[1]].variant]
        lines = [f"| algorithm | {' | '.join(tasks)} |", f"|-|{'-|' * len(tasks)}"]
        for variant in variants:
            cells = [self.cell(variant, task, "its own", show) for task in tasks]
            lines.append(f"| {variant} | {' | '.join(cells)} |")
        return "\n".join(lines)

    def refusals(self):
        """Reasons, each with the algorithms and topologies it holds for."""
        if not len(self.runs):
            return ""
        refused = self.runs.filter(pl.col("state") == "impossible")
        pairs = refused.select("variant", "topology", "error").unique(maintain_order=True)
        return "\n".join(
            f"* {variant} on {topology}: {error.split(';')[0]}."
            for variant, topology, error in pairs.iter_rows()
        )


def accuracy(runs):
    mean, low, high = mean_interval([100 * value for value in runs["score"]])
    bounds = "" if low is None else f" [{low:.1f}, {high:.1f}]"
    return f"{mean:.1f}{bounds} · {100 * runs['accuracy_min'].mean():.1f}"


def distance(runs):
    return f"{runs['consensus_distance'].mean():.2g}"


def megabytes(runs):
    return f"{runs['bytes'].mean() / 96 / 1e6:.3g}"


def page(out, seconds):
    """The document, with all that has been run so far."""
    tables = Tables(out)
    tasks = tables.names("task", SWEEPS[0])
    parts = [
        HEAD.format(
            command="python -m benchmarks.algorithm_table",
            cores=os.cpu_count(),
            processor=platform.machine(),
            minutes=seconds / 60,
            done=len(tables.runs),
        )
    ]
    if (ROOT / "docs" / "algorithm-table-findings.md").exists():
        parts.append((ROOT / "docs" / "algorithm-table-findings.md").read_text(encoding="utf-8"))
    for title, explanation, shown, show in (
        (
            "Accuracy",
            "Mean test accuracy over nodes in %, [95 % interval over seeds] · worst node.",
            tasks,
            accuracy,
        ),
        ("Consensus distance", "(1/n) Σ ‖xᵢ − x̄‖² at the end, mean over seeds.", tasks, distance),
    ):
        parts.append(f"## {title}\n\n{explanation}\n")
        parts.append(in_tables(tables, shown, show))
    parts.append(sent(tables))
    parts.append(f"{AFTER_SENT}\n{tables.refusals()}\n")
    return "\n".join(parts)


def in_tables(tables, shown, show):
    parts = [f"### {task}\n\n{tables.table(SWEEPS[0], task, show)}\n" for task in shown]
    return "\n".join([*parts, f"### Own networks, and outside gossip\n\n{tables.own_table(shown, show)}\n"])


def sent(tables):
    said = (
        "In 100 rounds, mean over nodes; 10⁶ bytes of payload. It does not depend on who has which samples."
    )
    return f"{SENT}\n{said}\n\n{in_tables(tables, OF_EACH_MODEL, megabytes)}"


def untuned(name):
    """A sweep of one task of each data set that only counts what is sent."""
    sweep = sims.load_sweep(name).model_dump(exclude_none=True)
    del sweep["tune"]
    sweep["grid"]["task"] = [task for task in sweep["grid"]["task"] if task["label"] in OF_EACH_MODEL]
    sweep["scenario"]["evaluate"]["every"] = 100
    return sweep


def rewrite_bytes(document, out, jobs):
    """Run what is needed for the bytes, and write these into the page."""
    for name in SWEEPS:
        sims.sweep(untuned(name), out=out / name, jobs=jobs, resume=True)
    before, _, rest = document.read_text(encoding="utf-8").partition(SENT)
    _, mark, after = rest.partition(AFTER_SENT)
    document.write_text(f"{before}{sent(Tables(out))}\n{mark}{after}", encoding="utf-8")


HEAD = """# Algorithm × topology × heterogeneity

Made by `{command}` from two ready-made sweeps (`gossipfl sim sweep algorithms` and `gossipfl sim sweep
algorithms-own-networks`): {minutes:.0f} minutes on {cores} shared {processor} cores, {done} runs that are reported.

96 nodes, 100 rounds, batches of 4, one gradient a node and round (DFedAvgM: three). Multi-layer perceptrons 64-64-10 on
digits and 16-32-10 on Pendigits. Every cell has a step size of its own, the best of four: 0.4 and a
factor of four above and below (with momentum 0.16), then one beyond the best or between, tried with seed 1001 on a fifth of the training samples that no node then has. What is reported was run with seeds 1, 2 and 3, on all
training samples, and measured on the test samples. A seed sets division of samples, graph and batches. Intervals are
bootstrap intervals over three seeds, and so narrow.

`*`: the best step size was the smallest or largest of the four. `refused`: the algorithm is not defined on that
network; the reasons are at the end. `diverged`: with every step size, or with the chosen one in that many runs.
"""


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("algorithm-table"))
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--no-run", action="store_true", help="write the tables of what is in --out")
    parser.add_argument("--only-bytes", action="store_true", help="anew only what is sent")
    arguments = parser.parse_args()
    document, clock = ROOT / "docs" / "algorithm-table.md", arguments.out / "seconds.json"
    if arguments.only_bytes:
        rewrite_bytes(document, arguments.out / "bytes", arguments.jobs)
        return
    before = json.loads(clock.read_text()) if clock.exists() else 0.0
    started = written = time.monotonic()

    def write():
        seconds = before + time.monotonic() - started
        document.write_text(page(arguments.out, seconds), encoding="utf-8")
        if not arguments.no_run:
            clock.write_text(json.dumps(seconds))

    def report(progress):
        nonlocal written
        if time.monotonic() - written > EVERY_SECONDS:
            written = time.monotonic()
            print(f"{progress.phase}: {progress.done:.0f} of {progress.total:.0f}", flush=True)
            write()

    finished = True
    for sweep in () if arguments.no_run else SWEEPS:
        arguments.out.mkdir(parents=True, exist_ok=True)
        result = sims.sweep(
            sweep, out=arguments.out / sweep, jobs=arguments.jobs, resume=True, on_progress=report
        )
        if not result.finished:
            finished = False
            break
    write()
    print(f"{document}{'' if finished else ', in part; give the command again to go on'}")


if __name__ == "__main__":
    main()
