"""``gossipfl sim run`` and ``gossipfl sim scenarios``."""

from __future__ import annotations

import json
import math
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gossipfl.errors import SettingError
from sims.cli.run_progress import measured, progress_bar

if TYPE_CHECKING:
    from sims.running import Result
    from sims.running.run import SimulationMaker

__all__ = ["run", "scenarios"]


def run(
    scenario: Annotated[
        str | None,
        typer.Argument(help="A TOML file, or the name of a ready-made scenario.", show_default=False),
    ] = None,
    *,
    out: Annotated[Path | None, typer.Option("--out", help="Directory for the records.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Replace a value, e.g. --set network.loss=0.2; may be repeated. Another algorithm.name or "
            "topology.name resets its table.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in --out from its last checkpoint.")
    ] = False,
    threads: Annotated[int, typer.Option("--threads", min=0, help="Cores to use; 0 for all.")] = 0,
    device: Annotated[str, typer.Option("--device", help="cpu, or cuda if there is a GPU.")] = "cpu",
    compile_when: Annotated[
        Literal["auto", "always", "never"], typer.Option("--compile", help="Compile with the C++ compiler.")
    ] = "auto",
    on: Annotated[
        str | None,
        typer.Option(
            "--on", help="Divide the nodes over a Ray cluster: ray, or ray://HOST:PORT; with --shards."
        ),
    ] = None,
    shards: Annotated[
        int | None,
        typer.Option(
            "--shards", min=1, help="Shards into which --on divides the nodes, each on --threads cores."
        ),
    ] = None,
    log: Annotated[
        list[str] | None,
        typer.Option(
            "--log",
            help="Also write to tensorboard, mlflow or wandb (offline), each optionally with :PLACE, or to a "
            "callback of yours, module:name; may be repeated.",
        ),
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
) -> None:
    """Simulate a scenario. Ctrl-C stops it cleanly; --resume continues from there."""
    from sims.running import run as simulate

    try:
        with _simulated_by(on, shards) as simulated_by, progress_bar(quiet=json_output) as on_progress:
            result = simulate(
                scenario,
                out=out,
                overrides=overrides or (),
                resume=resume,
                threads=threads or (1 if on else os.cpu_count()) or 1,
                device=device,
                compile_when=compile_when,
                on_progress=on_progress,
                simulated_by=simulated_by,
                callbacks=log or (),
            )
    except KeyboardInterrupt:
        typer.echo(_ended_at_once(out, on, shards), err=True)
        sys.exit(130)
    if json_output:
        typer.echo(json.dumps({**result.summary, "last": result.evaluations.row(-1, named=True)}))
    else:
        _say(result, out, _command(out, on, shards))
    sys.exit(0 if result.finished else 130)


def scenarios(
    name: Annotated[str | None, typer.Argument(help="Print this scenario as a TOML file.")] = None,
) -> None:
    """List the ready-made scenarios, or print one to start from."""
    folder = Path(__file__).parent.parent / "scenarios"
    if name is not None:
        from sims.scenario import load_scenario

        load_scenario(name)
        typer.echo((folder / f"{name}.toml").read_text(encoding="utf-8"), nl=False)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("scenario", "what it is")
    for file in sorted(folder.glob("*.toml")):
        table.add_row(file.stem, file.read_text(encoding="utf-8").splitlines()[0].removeprefix("# "))
    Console().print(table)


@contextmanager
def _simulated_by(on: str | None, shards: int | None) -> Iterator[SimulationMaker | None]:
    """Give what sets up a simulation on a cluster; None for this machine."""
    if (on is None) != (shards is None):
        raise SettingError(
            "a simulation is divided over a cluster by two options",
            expected="--on and --shards",
            got="--shards alone" if on is None else "--on alone",
        )
    if on is None or shards is None:
        yield None
        return
    from functools import partial

    from sims.sharding.ray_crew import ray_crews
    from sims.sharding.start import sharded

    with ray_crews(on) as crew:
        yield partial(sharded, shards=shards, crew=crew)


def _command(out: Path | None, on: str | None, shards: int | None) -> str:
    """The command that goes on with a run."""
    there = "" if on is None else f" --on {shlex.quote(on)} --shards {shards}"
    return f"gossipfl sim run --resume --out {shlex.quote(str(out))}{there}"


def _ended_at_once(out: Path | None, on: str | None, shards: int | None) -> str:
    """What a second Ctrl-C leaves, or a first one while a run was being set up."""
    from sims.running.checkpoint import CHECKPOINT

    if out is None or not (out / "scenario.toml").is_file():
        return "Interrupted at once; nothing was written."
    if not (out / CHECKPOINT).is_file():
        return f"Interrupted at once, without a checkpoint; {out} has what was measured until then."
    return f"Interrupted at once. Continue from the last checkpoint: {_command(out, on, shards)}"


def _say(result: Result, out: Path | None, command: str) -> None:
    last = result.evaluations.row(-1, named=True)
    ended, seconds = result.summary["rounds"], f"{result.summary['seconds']:.1f} s"
    at = f"Finished at round {ended:g} after {seconds}"
    if not result.finished:
        at = f"Interrupted at round {ended:.4g} after {seconds}; last measured at round {last['round']:g}"
    typer.echo(f"{at}: {measured(last)}, {last['messages']:,} messages, {last['bytes'] / 1e6:,.1f} MB")
    if not math.isfinite(last["loss_mean"]) or not math.isfinite(last["consensus_distance"]):
        typer.echo("Models have diverged: lower training.learning_rate, or set training.clip_norm.")
    if out is not None:
        typer.echo(f"Records in {out}.")
        if not result.finished:
            typer.echo(f"Continue with: {command}")
