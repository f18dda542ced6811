"""Runs for TensorBoard: one directory of event files a run."""

from __future__ import annotations

import math
import re
from pathlib import Path

from sims.analysis.comparison.analysis import Analysis
from sims.analysis.comparison.findings import findings
from sims.analysis.runs.run import Run
from sims.tracking.tracker import heading

__all__ = ["write_events"]

_NOT_SCALARS = frozenset({"round", "seconds"})


def write_events(analysis: Analysis, directory: Path) -> list[Path]:
    """Write every column of every run's curves as scalars over rounds, and the findings as text.

    The wall time of an event is the simulated (or real) second of the evaluation, so that TensorBoard's relative
    axis shows it. A step is a round, rounded to the nearest whole number.

    Returns
    -------
    list of Path
        One directory a run, and one for the findings.
    """
    from tensorboardX import SummaryWriter

    written: list[Path] = []
    for group in analysis.groups:
        for measured in group.runs:
            run = measured.run
            folder = directory / f"{_name(group.label)}-seed-{run.seed}"
            if folder in written:
                folder = directory / f"{folder.name}-{len(written)}"
            with SummaryWriter(str(folder), write_to_disk=True) as writer:
                _write(writer, run)
            written.append(folder)
    folder = directory / "findings"
    with SummaryWriter(str(folder)) as writer:
        writer.add_text("findings", "\n\n".join(f"* {sentence}" for sentence in findings(analysis)), 0)
    return [*written, folder]


def _write(writer, run: Run) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - has no types
    rounds, seconds = run.column("round"), run.column("seconds")
    for name, dtype in run.curves.schema.items():
        if name in _NOT_SCALARS or not dtype.is_numeric():
            continue
        for at, when, value in zip(rounds, seconds, run.column(name), strict=True):
            if math.isfinite(value):
                writer.add_scalar(
                    heading(name, run.metrics), value, global_step=round(at), walltime=float(when)
                )


def _name(label: str) -> str:
    return re.sub(r"[^\w.=-]+", "-", label).strip("-") or "run"
