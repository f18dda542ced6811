"""Sweeps from start to end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from sims.cluster.ray_cluster import is_ray
from sims.engine.programme import Compile
from sims.running.options import require_options
from sims.sweeping.callbacks import callbacks_for
from sims.sweeping.checking import Checked, check
from sims.sweeping.directory import SweepDirectory, sweep_to_run
from sims.sweeping.jobs import Assignment, Outcome
from sims.sweeping.means import Means
from sims.sweeping.places import workers_at
from sims.sweeping.plans import Schedule, plan_of, planned_jobs
from sims.sweeping.points import points_of
from sims.sweeping.settings import Sweep
from sims.sweeping.slurm_options import NO_OPTIONS
from sims.sweeping.summary import evaluations_table, runs_table, summary_of, tuning_table
from sims.sweeping.workers import Workers

__all__ = ["SweepProgress", "SweepResult", "sweep"]

_WRITE_SECONDS = 5.0
_WRITE_SHARE = 0.05  # largest share of the time spent on writing intermediate results


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepProgress:
    """The progress of a sweep, passed to ``on_progress`` at most a few times a second.

    Parameters
    ----------
    phase : {'checking', 'running'}
    done, total : float
        Points checked; or runs done, including fractions of those in progress.
    failed : int
        Runs that failed.
    kept : int
        Runs that an earlier sweep into the same directory had done.

    Examples
    --------
    >>> SweepProgress(phase="running", done=3.5, total=8).failed
    0
    """

    phase: str
    done: float
    total: float
    failed: int = 0
    kept: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult:
    """The outcome of a sweep.

    Parameters
    ----------
    sweep : Sweep
    runs : polars.DataFrame
        One row per run: its values, seed and state, the score, and the final measurements.
    evaluations : polars.DataFrame
        Evaluations of all runs that finished.
    tuning : polars.DataFrame
        One row a trial of a step size; empty unless the sweep tunes.
    summary : dict
        Points compared, best first; see `sims.sweeping.summary.summary_of`.
    finished : bool
        False if the sweep was interrupted.
    seconds : float
        Wall time.

    Examples
    --------
    >>> nothing = pl.DataFrame()
    >>> result = SweepResult(
    ...     sweep=Sweep(scenario="digits"), runs=nothing, evaluations=nothing, tuning=nothing,
    ...     summary={}, finished=True, seconds=0.0)
    >>> result.finished
    True
    """

    sweep: Sweep
    runs: pl.DataFrame
    evaluations: pl.DataFrame
    tuning: pl.DataFrame
    summary: dict[str, Any]
    finished: bool
    seconds: float


def sweep(
    sweep: Sweep | Mapping[str, Any] | Path | str | None,
    *,
    out: Path | str | None = None,
    jobs: int | None = None,
    resume: bool = False,
    on: str = "local",
    slurm: Mapping[str, str] = NO_OPTIONS,
    threads: int = 1,
    device: str = "cpu",
    compile_when: Compile = "never",
    on_progress: Callable[[SweepProgress], None] | None = None,
    callbacks: Sequence[str] = (),
) -> SweepResult:
    """Run a sweep, several runs side by side, each in a process of its own.

    Parameters
    ----------
    sweep : Sweep, mapping or path
        A sweep, a table, a TOML file, or the name of a ready-made sweep; None with ``resume``.
    out : path, optional
        Directory for the records; without it nothing is written.
    jobs : int, optional
        Number of parallel runs; by default as many as there are cores for. Results do not depend on it.
    resume : bool
        Continue the sweep in ``out``: runs that finished there are kept, interrupted ones go on from their
        checkpoints, failed ones are tried again. Another sweep may be given, such as one with more seeds.
    on : str
        Where: ``local``, ``ray``, ``ray://host:port`` or ``slurm``. Results do not depend on it, and a sweep that
        was begun in one place can be resumed in another.
    slurm : mapping
        Options of sbatch by their long names, for ``slurm``.
    threads : int
        Cores of each run; results depend on it by rounding.
    device : str
        Where each run keeps its models: ``"cpu"`` or ``"cuda"``.
    compile_when : {'auto', 'always', 'never'}
        As for `sims.run`; 'auto' decides by the clock, so that results may differ by rounding.
    on_progress : callable, optional
    callbacks : sequence of str
        Who hears of each run, trials included, in the process that does it: names, as for `sims.run`. On Ray a
        tracker needs a place that all machines reach. Runs that are kept tell nothing.

    Returns
    -------
    SweepResult

    Raises
    ------
    InvalidSweep, InvalidScenario, NotSimulable, NotEnoughMemory, TaskError
        Before anything is run: if the sweep or one of its points is wrong, or the runs do not fit into memory.
    InvalidCallback
        If there is no such callback, or machines elsewhere could not use it.
    SweepDirectoryError
        If ``out`` cannot be used.
    WorkersNotStarted
        If processes cannot be started.
    ClusterUnreachable, ClusterMismatch
        If there is no such cluster, or its machines run other software.

    Notes
    -----
    On a first Ctrl-C (in the main thread) the current runs stop and, with ``out``, write checkpoints, and the
    sweep returns with ``finished`` false. A second one stops it at once.

    Examples
    --------
    >>> table = {
    ...     "scenario": "digits", "seeds": [1], "grid": {"training.learning_rate": [0.1]},
    ...     "set": {"population.nodes": 32, "stop.rounds": 1}}
    >>> sweep(table, jobs=1).runs.height
    1
    """
    require_options(threads, compile_when)
    directory = None if out is None else SweepDirectory(Path(out))
    settings = sweep_to_run(sweep, directory, resume=resume)
    tell = on_progress or (lambda progress: None)
    points = points_of(settings)
    means = Means(
        threads=threads,
        device=device,
        compile_when=compile_when,
        callbacks=callbacks_for(settings, callbacks, elsewhere=is_ray(on)),
    )
    with workers_at(
        on, jobs=jobs, means=means, out=directory.path if directory else None, slurm=slurm
    ) as workers:
        checked = check(
            settings,
            points,
            room=workers.room,
            on_checked=lambda done: tell(SweepProgress(phase="checking", done=done, total=len(points))),
        )
        with directory.opened(settings, resume=resume) if directory else nullcontext():
            return _Sweeping(settings, checked, directory, tell).run(workers)


class _Sweeping:
    """One sweep under way."""

    def __init__(
        self,
        sweep: Sweep,
        checked: list[Checked],
        directory: SweepDirectory | None,
        tell: Callable[[SweepProgress], None],
    ) -> None:
        self.sweep, self.checked, self.directory, self.tell = sweep, checked, directory, tell
        possible = [entry.point for entry in checked if entry.refusal is None]
        self.memory = {
            entry.point.number: entry.memory.total for entry in checked if entry.memory is not None
        }
        plans = [plan_of(sweep, point) for point in possible]
        self.schedule = Schedule(plans, jobs_each=planned_jobs(sweep))
        self.outcomes: list[Outcome] = []
        self.kept, self.changed, self.write_after = 0, True, 0.0

    def run(self, workers: Workers) -> SweepResult:
        """Do all jobs."""
        started = time.perf_counter()
        finished = workers.run(self._take, self._done, on_wait=self._waiting)
        result = self._result(finished=finished, seconds=time.perf_counter() - started)
        self._write(result)
        return result

    def _take(self) -> Assignment | None:
        while (job := self.schedule.next()) is not None:
            kept = self.directory.kept(job) if self.directory else None
            if kept is None:
                directory = self.directory.of(job) if self.directory else None
                return Assignment(job=job, directory=directory, memory=self.memory[job.point])
            self.kept += 1
            self._done(kept)
        return None

    def _done(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.changed = True
        if outcome.state != "interrupted":  # a plan's next step depends on it
            self.schedule.done(outcome)

    def _waiting(self, under_way: float) -> None:
        failed = sum(outcome.state == "failed" for outcome in self.outcomes)
        done = len(self.outcomes) + under_way
        self.tell(
            SweepProgress(
                phase="running", done=done, total=self.schedule.total, failed=failed, kept=self.kept
            )
        )
        started = time.monotonic()
        if self.directory and self.changed and started >= self.write_after:
            self._write(self._result(finished=False, seconds=0.0))
            took = time.monotonic() - started
            self.write_after = time.monotonic() + max(_WRITE_SECONDS, took / _WRITE_SHARE)

    def _result(self, *, finished: bool, seconds: float) -> SweepResult:
        reported = [outcome for outcome in self.outcomes if outcome.job.stage == "runs"]
        trials = [outcome for outcome in self.outcomes if outcome.job.stage == "tuning"]
        return SweepResult(
            sweep=self.sweep,
            runs=runs_table(self.sweep, self.checked, reported),
            evaluations=evaluations_table(self.sweep, self.checked, reported),
            tuning=tuning_table(self.sweep, self.checked, trials),
            summary=summary_of(self.sweep, self.checked, reported, trials) | {"finished": finished},
            finished=finished,
            seconds=seconds,
        )

    def _write(self, result: SweepResult) -> None:
        if self.directory is None:
            return
        tables = {"runs": result.runs, "evaluations": result.evaluations}
        if self.sweep.tune is not None:
            tables["tuning"] = result.tuning
        self.directory.write(tables, result.summary)
        self.changed = False
