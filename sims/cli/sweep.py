"""``gossipfl sim sweep`` and ``gossipfl sim tune``."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sims.cli.job_array import do_parts, hand_over, script_text
from topology.text import printable

if TYPE_CHECKING:
    from sims.sweeping import SweepProgress, SweepResult

__all__ = ["sweep", "tune"]

_SHOWN = 40


# Not "auto": deciding by the clock would make results differ by rounding.
Jobs = Annotated[int | None, typer.Option("--jobs", min=1, help="Runs in parallel; by default one per core.")]
On = Annotated[str, typer.Option("--on", help="Where runs are done: local, ray, ray://host:port or slurm.")]
Threads = Annotated[int, typer.Option("--threads", min=1, help="Cores of each run.")]
Device = Annotated[str, typer.Option("--device", help="Where each run keeps its models: cpu or cuda.")]
Compiled = Annotated[
    Literal["always", "never"],
    typer.Option("--compile", help="Compile with the C++ compiler: worth it for long runs."),
]
Log = Annotated[
    list[str] | None,
    typer.Option(
        "--log",
        help="Also write each run to tensorboard, mlflow or wandb (offline), each optionally with :PLACE, or "
        "to a callback of yours, module:name; may be repeated.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")]


def sweep(
    file: Annotated[
        str | None,
        typer.Argument(help="A TOML file, or the name of a ready-made sweep.", show_default=False),
    ] = None,
    *,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Directory for the records; named after the file unless given."),
    ] = None,
    jobs: Jobs = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep the runs that finished in --out, and do the others.")
    ] = False,
    on: On = "local",
    slurm: Annotated[
        list[str] | None,
        typer.Option(
            "--slurm", help="Options of sbatch, such as partition=short,time=2:00:00; may be repeated."
        ),
    ] = None,
    script: Annotated[
        Path | None,
        typer.Option(
            "--script", help="Run nothing, but write a job array for sbatch, and make --out for it."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Run nothing, but print the job array of --on slurm.")
    ] = False,
    part: Annotated[
        str | None,
        typer.Option(
            "--part", help="Do only this part of the sweep in --out, or those from K to L: K, or K-L."
        ),
    ] = None,
    threads: Threads = 1,
    device: Device = "cpu",
    compile_when: Compiled = "never",
    log: Log = None,
    json_output: AsJson = False,
) -> None:
    """Run a scenario at many points, in parallel. Ctrl-C stops it cleanly; --resume continues from there."""
    from sims.sweeping import sweep as run_sweep
    from sims.sweeping.slurm_options import options_of

    out = out or (Path(Path(file).stem) if file else None)
    options = options_of(slurm or ())
    means: dict[str, Any] = {
        "threads": threads,
        "device": device,
        "compile_when": compile_when,
        "callbacks": tuple(log or ()),
    }
    if part is not None:
        sys.exit(do_parts(file, out, part, **means))
    if script is not None or dry_run:
        with _display(quiet=json_output) as on_progress:
            text = script_text(
                file,
                out,
                on=on,
                jobs=jobs,
                options=options,
                means=means,
                on_progress=on_progress,
                resume=resume,
                dry=dry_run,
            )
        hand_over(text, None if dry_run else script)
        return
    with _interrupts_said(out, on), _display(quiet=json_output) as on_progress:
        result = run_sweep(
            file,
            out=out,
            jobs=jobs,
            resume=resume,
            on=on,
            slurm=options,
            on_progress=on_progress,
            **means,
        )
    if json_output:
        typer.echo(json.dumps(result.summary))
    else:
        _say(result, out, on)
    sys.exit(_exit_code(result))


def tune(
    scenario: Annotated[str, typer.Argument(help="A TOML file, or the name of a ready-made scenario.")],
    *,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Replace a value, e.g. --set algorithm.name=d_psgd; may be repeated."),
    ] = None,
    values: Annotated[int, typer.Option("--values", min=3, max=20, help="How many step sizes to try.")] = 7,
    ratio: Annotated[
        float, typer.Option("--ratio", min=1.1, help="Between neighbours of the first grid.")
    ] = 4.0,
    metric: Annotated[str, typer.Option("--metric", help="Column of the evaluations.")] = "accuracy_mean",
    minimise: Annotated[bool, typer.Option("--minimise", help="The smaller the better.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Directory for the records.")] = None,
    jobs: Jobs = None,
    on: On = "local",
    log: Log = None,
    json_output: AsJson = False,
) -> None:
    """Choose a step size on held-out training samples, then measure it on the test samples with other seeds."""
    from sims.scenario.text import load_scenario, load_table, override_all
    from sims.sweeping import sweep as run_sweep

    load_scenario(scenario, overrides=overrides or ())  # whose errors cite lines and --set
    table = load_table(scenario)
    override_all(table, overrides or ())
    settings: dict[str, Any] = {
        "name": f"tuning of {table.get('name', scenario)}",
        "scenario": table,
        "metric": metric,
        "direction": "minimise" if minimise else "maximise",
        "tune": {"values": values, "ratio": ratio},
    }
    with _interrupts_said(out, on), _display(quiet=json_output) as on_progress:
        result = run_sweep(
            settings, out=out, jobs=jobs, on=on, on_progress=on_progress, callbacks=tuple(log or ())
        )
    if json_output:
        trials = result.tuning.select(result.summary["tuned"], "seed", "score").to_dicts()
        typer.echo(json.dumps({**result.summary, "trials": trials}))
    else:
        _say_trials(result)
        _say(result, out, on)
    sys.exit(_exit_code(result))


@contextmanager
def _interrupts_said(out: Path | None, on: str) -> Iterator[None]:
    """Say what a second Ctrl-C leaves, or a first one before any run."""
    try:
        yield
    except KeyboardInterrupt:
        begun = out is not None and (out / "sweep.toml").exists()
        typer.echo(
            f"Interrupted at once. What had finished is kept.\n{_go_on(out, on)}"
            if begun
            else "Interrupted before any run; nothing was written.",
            err=True,
        )
        sys.exit(130)


def _go_on(out: Path | None, on: str) -> str:
    there = "" if on == "local" else f" --on {shlex.quote(on)}"
    return f"Continue with: gossipfl sim sweep --resume --out {shlex.quote(str(out))}{there}"


def _exit_code(result: SweepResult) -> int:
    """As of a shell: 130 after Ctrl-C, 1 if runs failed."""
    if not result.finished:
        return 130
    return 1 if (result.runs["state"] == "failed").any() or not result.summary["points"][0]["finished"] else 0


@contextmanager
def _display(*, quiet: bool) -> Iterator[Callable[[SweepProgress], None]]:
    """Show a progress bar with time left."""
    from rich import progress as rich
    from rich.console import Console
    from rich.table import Column

    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.TextColumn("{task.fields[counted]}"),
        rich.TimeElapsedColumn(table_column=Column(no_wrap=True)),
        rich.TimeRemainingColumn(table_column=Column(no_wrap=True)),
    )
    with rich.Progress(*columns, console=Console(stderr=True, quiet=quiet), disable=quiet) as bar:
        tasks = {
            "checking": bar.add_task("points checked", total=None, counted=""),
            "running": bar.add_task("runs", total=None, counted="", visible=False),
        }

        def report(progress: SweepProgress) -> None:
            counted = f"{int(progress.done)}/{progress.total:g}"
            counted += f", {progress.kept} from before" if progress.kept else ""
            counted += f", {progress.failed} failed" if progress.failed else ""
            task = tasks[progress.phase]
            bar.update(task, total=progress.total, completed=progress.done, counted=counted, visible=True)

        yield report


def _say(result: SweepResult, out: Path | None, on: str) -> None:
    from sims.cli.plain import plain_console

    summary = result.summary
    plain_console().print(_table(summary))
    hidden = len(summary["points"]) - _SHOWN
    if hidden > 0:
        typer.echo(f"… and {hidden} more points, in summary.json.")
    for entry in [entry for entry in summary["points"] if entry["failed"]][:3]:
        typer.echo(f"Point {entry['point']} failed: {printable(entry['error'])}")
    state = "Finished" if result.finished else "Interrupted"
    typer.echo(f"{state} after {result.seconds:.0f} s, {len(result.runs)} runs.")
    if out is not None:
        typer.echo(f"Records in {out}.")
        if not result.finished:
            typer.echo(_go_on(out, on))


def _table(summary: dict[str, Any]) -> Any:  # noqa: ANN401 - rich is loaded late
    from rich.table import Table

    best = "at the end" if summary["measure"] == "final" else "at its best"
    share = f"{summary['confidence']:.0%}"
    keys = list(summary["points"][0]["values"])
    table = Table(
        *keys,
        *([summary["tuned"]] if summary["tuned"] else []),
        f"{summary['metric']} {best}",
        f"{share} interval",
        f"behind the best, {share} interval",
        "runs",
        title=printable(summary["name"]),
    )
    for entry in summary["points"][:_SHOWN]:
        cells = [_shown(entry["values"][key]) for key in keys]
        if summary["tuned"]:
            cells.append(_shown(entry["tuned"]) + (" (edge)" if entry["tuned_at_edge"] else ""))
        table.add_row(*cells, *_figures(entry))
    return table


def _figures(entry: dict[str, Any]) -> tuple[str, str, str, str]:
    if entry["impossible"]:
        return "impossible", "", "", ""
    runs = str(entry["finished"])
    runs += f", {entry['diverged']} diverged" if entry["diverged"] else ""
    runs += f", {entry['failed']} failed" if entry["failed"] else ""
    if entry["mean"] is None:
        return "—", "", "", runs
    behind = ""
    if "behind" in entry:
        behind = f"{_shown(entry['behind'])}  {_bounds(entry['behind_low'], entry['behind_high'])}"
    return _shown(entry["mean"]), _bounds(entry["low"], entry["high"]), behind, runs


def _bounds(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{_shown(low)} … {_shown(high)}"


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else printable(value)


def _say_trials(result: SweepResult) -> None:
    import polars as pl
    from rich.table import Table

    from sims.cli.plain import plain_console

    key = result.summary["tuned"]
    table = Table(key, f"{result.summary['metric']} on held-out samples", title="Trials")
    for value, score in result.tuning.group_by(key).agg(pl.col("score").mean()).sort(key).iter_rows():
        table.add_row(_shown(value), "diverged" if score is None else _shown(score))
    plain_console().print(table)
