"""``gossipfl sim fleet``."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sims.fleet import FleetReport

__all__ = ["fleet"]


def fleet(
    directory: Annotated[Path, typer.Argument(help="Records of a run of phones.", show_default=False)],
    *,
    cores: Annotated[
        int, typer.Option("--cores", min=1, help="Cores of a phone, each as fast as one here.")
    ] = 8,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Report what a run cost each phone, what came of its work, and for whom."""
    from sims.fleet import fleet_report

    report = fleet_report(directory)
    if json_output:
        shown = {**asdict(report), "seconds": report.seconds, "share": report.share_of_processor(cores)}
        typer.echo(json.dumps(_without_nan(shown)))
        return
    _say(report, cores)


def _say(report: FleetReport, cores: int) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    whole = Table("measure", "a phone and day", title=f"{report.phones:,} phones, {_days(report.days)}")
    for name, value in (
        ("training steps", f"{report.steps:.2f}"),
        ("processor time of a step", f"{1000 * report.step_seconds:.1f} ms"),
        ("processor time", f"{report.seconds:.3f} s"),
        (f"share of {cores} cores for a day", f"{report.share_of_processor(cores):.2e}"),
        ("sent", f"{report.bytes_sent / 1e6:.3f} MB"),
        ("sent, were it float32 models", f"{report.full_bytes / 1e6:.3f} MB"),
        ("sent and received, metered link", _figure(report.bytes_metered / 1e6, 3, " MB")),
        ("sent and received, other links", _figure(report.bytes_unmetered / 1e6, 3, " MB")),
        ("goodput", _figure(report.goodput, 3)),
        ("steps with half their weight or more", _figure(report.kept, 3)),
    ):
        whole.add_row(name, value)
    console.print(whole)
    zones = Table("time zone", "phones", "measured", "recall, last day", "steps a day", "goodput")
    for zone in report.zones:
        zones.add_row(
            f"UTC{zone.hours:+g}",
            f"{zone.phones:,}",
            str(zone.measured),
            _figure(zone.recall, 4),
            _figure(zone.steps, 2),
            _figure(zone.goodput, 3),
        )
    console.print(zones)
    console.print(f"Jain's index of recall over time zones: {_figure(report.jain, 5)}")
    hours = Table("hour", "recall")
    for hour, recall in report.hours:
        hours.add_row(f"{hour:g}", _figure(recall, 4))
    console.print(hours)


def _days(days: float) -> str:
    return f"{days:g} {'day' if days == 1 else 'days'}"


def _figure(value: float, digits: int, unit: str = "") -> str:
    """A figure, or a dash where there was nobody to measure."""
    return "–" if math.isnan(value) else f"{value:.{digits}f}{unit}"


def _without_nan(value: Any) -> Any:  # noqa: ANN401 - plain values for JSON, which has no NaN
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value
