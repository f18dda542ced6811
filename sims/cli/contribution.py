"""``gossipfl sim contribution``."""

from __future__ import annotations

import json
import math
import os
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from sims.contribution import ContributionReport, Participant

__all__ = ["contribution"]


def contribution(
    scenario: Annotated[str, typer.Argument(help="A TOML file, or the name of a ready-made scenario.")],
    *,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Replace a value, e.g. --set stop.rounds=50; repeatable."),
    ] = None,
    over: Annotated[
        str,
        typer.Option(
            help="Repeats: a key and the values it takes, e.g. training.seed=0,1,2 or task.options.fold=0,1,2,3,4."
        ),
    ] = "training.seed=0",
    metric: Annotated[
        str | None, typer.Option(help="loss, or a metric of the task; by default the task's first.")
    ] = None,
    value: Annotated[
        Literal["members", "mean_model", "everyone"] | None,
        typer.Option(
            help="Worth of a coalition: the mean over its members, their mean model, or the mean over everyone, "
            "of whom those outside learn alone. By default members, or everyone where nodes have own test samples."
        ),
    ] = None,
    permutations: Annotated[
        int | None,
        typer.Option(
            help="Sample Shapley values over this many permutations; 0: none. By default exact for up to 8 nodes."
        ),
    ] = None,
    truncation: Annotated[
        float | None,
        typer.Option(min=0, help="Stop a permutation once its value is this close to everybody's."),
    ] = None,
    confidence: Annotated[
        float, typer.Option(min=0.5, max=0.999, help="Confidence level of intervals.")
    ] = 0.95,
    threads: Annotated[int, typer.Option("--threads", min=0, help="Cores to use; 0 for all.")] = 0,
    compile_when: Annotated[
        Literal["auto", "always", "never"], typer.Option("--compile", help="Compile with the C++ compiler.")
    ] = "never",
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure what each participant gives and gains, and why some gain nothing."""
    from rich.console import Console
    from rich.measure import Measurement

    from sims.contribution import contributions

    key, _, values = over.partition("=")
    with Console(stderr=True, quiet=json_output).status("") as status:
        report = contributions(
            scenario,
            overrides=overrides or (),
            over=(key, [each for each in values.split(",") if each]),
            metric=metric,
            value=value,
            permutations=permutations,
            truncation=truncation,
            confidence=confidence,
            threads=threads or os.cpu_count() or 1,
            compile_when=compile_when,
            on_repeat=lambda done, total: status.update(f"repeat {done + 1} of {total}"),
        )
    if json_output:
        typer.echo(json.dumps(report.to_dict()))
        return
    console = Console(markup=False, emoji=False)  # names are anybody's
    console.print(_heading(report), highlight=False)
    for table in (_table(report), *([] if report.who_gave_whom is None else [_matrix(report)])):
        unbounded = console.options.update(max_width=10_000)
        console.width = max(console.width, Measurement.get(console, unbounded, table).maximum)
        console.print(table, soft_wrap=True)
    for sentence in _sentences(report):
        console.print(sentence, highlight=False)


def _heading(report: ContributionReport) -> str:
    how = "all coalitions" if report.exact else f"{report.permutations} permutations"
    if not report.exact and not report.permutations:
        how = "everybody, and everybody but one"
    worth = {
        "members": "the mean over its members",
        "mean_model": "the mean of its members' models",
        "everyone": "the mean over everyone, of whom those outside learn alone",
    }[report.value]
    sign = ", with its sign changed" if report.metric == "loss" else ""
    return (
        f"{report.scenario}: {report.metric}{sign}; a coalition is worth {worth}; {how}, "
        f"{report.coalitions:,} simulated as {report.rows:,} rows, {_times(report.repeats)}."
    )


def _times(repeats: int) -> str:
    return "once" if repeats == 1 else f"{repeats} times"


def _table(report: ContributionReport) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("participant", no_wrap=True)
    headings = ["samples", "alone", "together", "gain", "better in", "left out", "Shapley", "online"]
    if report.who_gave_whom is not None:
        headings.append("gave others")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for each in report.participants:
        gave = [] if each.gave is None else [f"{each.gave:+.3f}"]
        table.add_row(
            each.name if each.honest else f"{each.name} (hostile)",
            f"{each.samples:,}",
            f"{each.alone:.3f}",
            f"{each.together:.3f}",
            f"{each.gain:+.3f} ± {(each.gain_high - each.gain_low) / 2:.3f}",
            f"{each.better_in} of {report.repeats}",
            f"{each.leave_one_out:+.3f}",
            _with_interval(each, report),
            "–" if math.isnan(each.online) else f"{each.online:+.4f}",
            *gave,
        )
    return table


def _with_interval(each: Participant, report: ContributionReport) -> str:
    if math.isnan(each.shapley):
        return "–"
    reach = (each.shapley_high - each.shapley_low) / 2
    return f"{each.shapley:+.3f}" + ("" if report.exact and report.repeats == 1 else f" ± {reach:.3f}")


def _matrix(report: ContributionReport) -> Table:
    from rich import box
    from rich.table import Table

    names = [each.name for each in report.participants]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), title="who got what from whom")
    table.add_column("from", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for name, row in zip(names, report.who_gave_whom or (), strict=True):
        table.add_row(f"{name} got", *(f"{given:+.3f}" if given else "" for given in row))
    return table


def _sentences(report: ContributionReport) -> list[str]:
    fair, shapley = report.fairness, report.exact or report.permutations > 0
    said = [
        f"Together {report.everybody:.3f}, against {report.nobody:.3f} of nobody"
        + (f": Shapley values share out {report.everybody - report.nobody:+.3f}." if shapley else "."),
        f"Gains: mean {fair.mean:+.3f}, spread {fair.spread:.3f}, worst tenth {fair.worst_decile:+.3f}; "
        f"Jain's index of what they have {'–' if math.isnan(fair.level.jain) else f'{fair.level.jain:.3f}'}.",
    ]
    correlations = {
        "Shapley values": report.online_and_shapley,
        "what each gave others": report.online_and_gave,
        "what is lost without each": report.online_and_left_out,
    }
    known = [f"with {what} {value:+.2f}" for what, value in correlations.items() if not math.isnan(value)]
    if known:
        said.append(
            "Online estimate: how much merging its model lowers a neighbour's loss. Rank correlation "
            f"{', '.join(known)}."
        )
    if not math.isnan(fair.given_and_gained):
        said.append(f"Rank correlation of what each gave and gained: {fair.given_and_gained:+.2f}.")
    said += [f"{each.name}: {flag}." for each in report.participants for flag in each.flags]
    said += [
        f"Of {found.planted} planted {kind}, {found.both} found; {found.flagged - found.both} others flagged."
        for kind, found in report.found.items()
    ]
    for each in report.participants:
        if each.gain >= 0:
            continue
        sure = "" if each.is_worse_off else " (within chance)"
        why = "; ".join(each.reasons) or "its data are not set apart from the others'"
        said.append(f"{each.name} is worse off than alone by {-each.gain:.3f}{sure}: {why}.")
    if not any(each.gain < 0 for each in report.participants):
        said.append("Nobody is worse off than alone.")
    return said
