"""The command ``gossipfl analyze``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from topology.text import printable

__all__ = ["analyze", "app"]


def analyze(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Directories of `gossipfl sim run --out`, of peers, of a demo, or above such.",
            show_default=False,
        ),
    ],
    *,
    target: Annotated[
        float | None,
        typer.Option(help="Level to reach; by default the highest multiple of 5 % that all runs reach."),
    ] = None,
    metric: Annotated[str | None, typer.Option(help="Measure success by this metric of the task.")] = None,
    statistic: Annotated[
        Literal["mean", "worst", "median"], typer.Option(help="Which node has to reach the target.")
    ] = "mean",
    baseline: Annotated[
        str | None, typer.Option(help="Label, or part of it, of the runs that others are compared with.")
    ] = None,
    pooled: Annotated[
        str, typer.Option(help="Pooled training: train, none, a figure, or the directory of a run.")
    ] = "train",
    theory: Annotated[bool, typer.Option(help="Compare measurements with theory.")] = True,
    gains: Annotated[
        bool, typer.Option("--gains", help="Train each node alone as long; say who gained and who gave.")
    ] = False,
    contributions: Annotated[
        bool,
        typer.Option(
            "--contributions",
            help="Besides gains: simulate the network without some of its nodes; say what each is worth to it.",
        ),
    ] = False,
    permutations: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="With --contributions: sample Shapley values over this many permutations; 0 for none. By default "
            "exact for up to 8 nodes.",
            show_default=False,
        ),
    ] = None,
    retrace: Annotated[
        bool, typer.Option(help="Recompute real peers' models from their records, moment by moment.")
    ] = True,
    confidence: Annotated[
        float, typer.Option(min=0.5, max=0.999, help="Confidence level of intervals and bands.")
    ] = 0.95,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the resamples behind intervals.")] = 0,
    report: Annotated[Path | None, typer.Option(help="Write one HTML page, readable offline.")] = None,
    figures: Annotated[Path | None, typer.Option(help="Write figures as SVG and PDF to a directory.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write one row for each run as CSV.")] = None,
    parquet: Annotated[Path | None, typer.Option(help="Write one row for each run as Parquet.")] = None,
    curves: Annotated[
        Path | None, typer.Option(help="Write one row for each evaluation, as CSV or Parquet, by its name.")
    ] = None,
    tensorboard: Annotated[Path | None, typer.Option(help="Write event files for TensorBoard.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure runs, compare them with each other and with theory, and state the findings.

    Takes both simulations and real peers. Runs that differ only in their seeds form one group.
    """
    from sims.analysis import Questions, analyse, findings, load_runs
    from sims.analysis.output.outputs import Outputs, write_outputs
    from sims.analysis.output.participants import participants_terminal_table
    from sims.analysis.output.tables import summary, terminal_table, theory_terminal_table
    from sims.cli.plain import plain_console

    outputs = Outputs(
        report=report, figures=figures, csv=csv, parquet=parquet, curves=curves, tensorboard=tensorboard
    )
    outputs.check()
    errors = plain_console(stderr=True, quiet=json_output)
    with errors.status("") as status:
        found = load_runs(runs, retrace=retrace, on_run=lambda path: status.update(f"reading {path}"))
        analysis = analyse(
            found,
            Questions(
                metric=metric,
                target=target,
                statistic=statistic,
                baseline=baseline,
                pooled=pooled,
                theory=theory,
                gains=gains,
                contributions=contributions,
                permutations=permutations,
                confidence=confidence,
                seed=seed,
            ),
            on_run=lambda run: status.update(f"measuring {run.path}"),
        )
        status.update("writing")
        written = write_outputs(analysis, outputs)
    if json_output:
        typer.echo(json.dumps({**summary(analysis), "files": [str(file) for file in written]}))
        return
    console = plain_console()
    console.print(terminal_table(analysis))
    participants = participants_terminal_table(analysis)
    if participants is not None:
        console.print(participants)
    beside = theory_terminal_table(analysis)
    if beside is not None:
        console.print(beside)
    for sentence in findings(analysis):
        console.print(f"• {printable(sentence)}", highlight=False)
    for note in analysis.notes:
        console.print(f"Note: {printable(note)}", highlight=False, style="dim")
    for file in written:
        console.print(f"Wrote {file}", highlight=False, soft_wrap=True)


app = typer.Typer(name="analyze", add_completion=False, pretty_exceptions_enable=False)
app.command()(analyze)
