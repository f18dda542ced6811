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

from sims.errors import InvalidSweep, SweepDirectoryError
from sims.running.records import ResultsDirectory
from sims.scenario import to_toml
from sims.sweeping.jobs import Job, Outcome
from sims.sweeping.settings import Sweep, load_sweep, parse_sweep
from topology.parsing import json_of, toml_of
from topology.text import read_text

__all__ = ["SweepDirectory", "locked", "saved_sweep", "sweep_to_run"]

_SETTINGS = "sweep.toml"
_LOCK = ".lock"


class SweepDirectory(ResultsDirectory):
    """Files of a sweep.

    ``sweep.toml``; ``runs/ID`` and ``tuning/ID``, a directory of each run; ``runs.parquet``,
    ``evaluations.parquet`` and ``tuning.parquet``; ``summary.json``.
    """

    error = SweepDirectoryError

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
            with locked(self.path / _LOCK, fcntl.LOCK_EX, in_use=self._in_use):
                self.write_text(_SETTINGS, tomli_w.dumps(sweep.model_dump(mode="json", exclude_none=True)))
                yield
        except OSError as error:
            raise SweepDirectoryError(f"{self.path} cannot be written to: {error}") from error

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold the directory together with processes that do other parts of the same sweep.

        Raises
        ------
        SweepDirectoryError
            If a process does the whole sweep, or the directory cannot be locked.
        """
        with locked(self.path / _LOCK, fcntl.LOCK_SH, in_use=self._in_use):
            yield

    @property
    def _in_use(self) -> str:
        return f"another process is sweeping into {self.path}"

    def of(self, job: Job) -> Path:
        """Directory of a run."""
        return self.path / job.stage / job.run

    def kept(self, job: Job) -> Outcome | None:
        """The outcome of a job in an earlier sweep in this directory, if it finished.

        Anybody who shares the disk may have put there what is there: files of another run, or half of them, are
        no outcome.
        """
        run = self.of(job)
        try:
            summary = json_of((run / "run.json").read_text(encoding="utf-8"))
            if summary["finished"] is not True or not _is_of(job, (run / "scenario.toml").read_text("utf-8")):
                return None
            evaluations, seconds = pl.read_parquet(run / "evaluations.parquet"), float(summary["seconds"])
            last, _ = (float(evaluations[name][-1]) for name in ("round", "loss_mean"))
        except (
            OSError,
            ValueError,
            OverflowError,
            KeyError,
            TypeError,
            IndexError,
            pl.exceptions.PolarsError,
        ):
            return None
        stop = job.scenario.stop
        if last < stop.rounds and stop.accuracy is None:
            return None
        return Outcome(job=job, state="finished", evaluations=evaluations, seconds=seconds)

    def write(self, tables: Mapping[str, pl.DataFrame], summary: Mapping[str, Any]) -> None:
        """Write the dataset and the summary."""
        for name, table in tables.items():
            self.write_table(name, table)
        self.write_text("summary.json", json.dumps(summary, indent=2) + "\n")


def _is_of(job: Job, text: str) -> bool:
    """Whether a run's scenario is that of a job, but for its name."""
    found, wanted = toml_of(text), toml_of(to_toml(job.scenario))
    return {**found, "name": ""} == {**wanted, "name": ""}


@contextmanager
def locked(file: Path, how: int, *, in_use: str) -> Iterator[None]:
    """Hold a lock of ``fcntl.flock``, or raise `SweepDirectoryError` at once."""
    try:
        lock = file.open("w")
    except OSError as error:
        raise SweepDirectoryError(f"{file} cannot be written to: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, how | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SweepDirectoryError(in_use) from error
        except OSError as error:
            raise SweepDirectoryError(
                f"{file} cannot be locked: {error.strerror}",
                remedy="Parts of a sweep need a file system with locks, so that no two processes do the same.",
            ) from error
        yield


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


def sweep_to_run(
    sweep: Sweep | Mapping[str, Any] | Path | str | None, directory: SweepDirectory | None, *, resume: bool
) -> Sweep:
    """Return the sweep that is given, or the one that a directory was made by.

    Raises
    ------
    InvalidSweep, InvalidScenario, SweepDirectoryError
        If there is none, or it is wrong.
    """
    if resume and directory is None:
        raise SweepDirectoryError("there is nothing to resume without a directory", remedy="Give `out`.")
    if sweep is None:
        if not resume or directory is None:
            raise InvalidSweep("there is no sweep to run", remedy="Name one, or resume an earlier one.")
        return saved_sweep(directory.path)
    if isinstance(sweep, Sweep):
        return sweep if isinstance(sweep.scenario, dict) else parse_sweep(sweep.model_dump(exclude_none=True))
    return parse_sweep(sweep) if isinstance(sweep, Mapping) else load_sweep(sweep)
