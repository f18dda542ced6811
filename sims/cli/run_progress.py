"""The progress bar of a simulation."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from sims.running import Progress

__all__ = ["measured", "progress_bar"]

_FEW = 10
_BAR_AND_TIMES = 6 + 2 * len(" 0:00:00") + 2  # the bar may be that short, with the spaces around

_STOPPING = "Ctrl-C again: at once"


@contextmanager
def progress_bar(*, quiet: bool, console: Console | None = None) -> Iterator[Callable[[Progress], None]]:
    """Show a progress bar with time left, and as many of the measurements as the terminal has room for.

    Parameters
    ----------
    quiet : bool
        Show nothing.
    console : rich.console.Console, optional
        Where; standard error unless given.
    """
    from rich import progress as rich
    from rich.console import Console
    from rich.table import Column

    console = console or Console(stderr=True, quiet=quiet)
    columns = (
        rich.TextColumn("{task.fields[place]}"),
        rich.BarColumn(),  # the only one that gives way
        rich.TimeElapsedColumn(table_column=Column(no_wrap=True)),
        rich.TimeRemainingColumn(table_column=Column(no_wrap=True)),
        rich.TextColumn("{task.fields[measured]}"),
    )
    with rich.Progress(*columns, console=console, disable=quiet) as bar, warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: typer.echo(f"Warning: {message}", err=True)

        def report(progress: Progress) -> None:
            if not bar.task_ids:
                console.print(f"This needs {progress.memory}.")
                bar.add_task("", total=progress.total, place="", measured="")
            place = _place(progress)
            told = _STOPPING if progress.stopping else measured(progress.evaluation)
            fitting = _fitting(told, console.width - len(place) - _BAR_AND_TIMES)
            bar.update(bar.task_ids[0], completed=progress.rounds, place=place, measured=fitting)

        yield report


def measured(evaluation: dict[str, object] | None) -> str:
    """The metric of an evaluation, or the loss without any, and how far apart models are."""
    if evaluation is None:
        return ""
    shown = next(
        (key for key in evaluation if key.endswith("_mean") and key not in ("loss_mean", "age_mean")),
        "loss_mean",
    )
    name = shown.removesuffix("_mean")
    return f"{name} {evaluation[shown]:.4f}  consensus distance {evaluation['consensus_distance']:.3g}"


def _place(progress: Progress) -> str:
    """Rounds of all: whole ones, unless there are few; and whether the run goes on."""
    done = math.floor(progress.rounds) if progress.total >= _FEW else round(progress.rounds, 1)
    return f"{'stopping' if progress.stopping else 'round'} {done:g}/{progress.total:g}"


def _fitting(text: str, room: int) -> str:
    """A text without its last parts, if there is no room for them."""
    while text and len(text) > room:
        text = text.rpartition("  ")[0]
    return text
