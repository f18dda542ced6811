"""The directory of a sweep: those of its runs, and one dataset of all their records."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import tomli_w

from sims.errors import SweepDirectoryError
from sims.running.records import ResultsDirectory
from sims.sweeping.jobs import Job, Outcome
from sims.sweeping.settings import Sweep, parse_sweep
from topology.text import read_text

__all__ = ["SweepDirectory", "saved_sweep"]

_SETTINGS = "sweep.toml"


class SweepDirectory(ResultsDirectory):
    """Files of a sweep.

    ``sweep.toml``; ``runs/ID`` and ``tuning/ID``, a directory of each run; ``runs.parquet``,
    ``evaluations.parquet`` and ``tuning.parquet``; ``summary.json``.
    """

    @contextmanager
    def opened(self, sweep: Sweep, *, resume: bool) -> Iterator[None]:
        """Hold the directory, so that no other process sweeps into it.

        Raises
        ------
        SweepDirectoryError
            If it is in use, cannot be written to, or, without ``resume``, holds anything already.
        """
        if not resume and self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise SweepDirectoryError(
                f"{self.path} already exists and is not empty",
                remedy="Choose another --out, or continue the sweep in it with --resume.",
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with (self.path / ".lock").open("w") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    raise SweepDirectoryError(f"another process is sweeping into {self.path}") from error
                self.write_text(_SETTINGS, tomli_w.dumps(sweep.model_dump(mode="json", exclude_none=True)))
                yield
        except OSError as error:
            raise SweepDirectoryError(f"{self.path} cannot be written to: {error}") from error

    def of(self, job: Job) -> Path:
        """Directory of a run."""
        return self.path / job.stage / job.run

    def kept(self, job: Job) -> Outcome | None:
        """The outcome of a job in an earlier sweep in this directory, if it finished."""
        run = self.of(job)
        try:
            summary = json.loads((run / "run.json").read_text(encoding="utf-8"))
            if not summary["finished"]:
                return None
            evaluations = pl.read_parquet(run / "evaluations.parquet")
        except (OSError, ValueError, KeyError, pl.exceptions.PolarsError):
            return None
        return Outcome(job=job, state="finished", evaluations=evaluations, seconds=summary["seconds"])

    def write(self, tables: Mapping[str, pl.DataFrame], summary: Mapping[str, Any]) -> None:
        """Write the dataset and the summary."""
        for name, table in tables.items():
            self.write_table(name, table)
        self.write_text("summary.json", json.dumps(summary, indent=2) + "\n")


def saved_sweep(path: Path) -> Sweep:
    """The sweep that a directory was made by.

    Raises
    ------
    SweepDirectoryError
        If it holds no sweep.
    """
    file = path / _SETTINGS
    try:
        return parse_sweep(read_text(file), source=str(file))
    except OSError as error:
        raise SweepDirectoryError(
            f"{path} holds no sweep to resume", remedy="Start one there first, without --resume."
        ) from error
