"""Workers of a sweep on a Slurm cluster: job arrays that submitit submits and this process waits for."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from gossipfl.extras import require_extra
from sims.errors import ClusterUnreachable, InvalidSweep
from sims.running.interrupts import interrupts_noted
from sims.scenario import Scenario, to_toml
from sims.scenario.text import scenario_of
from sims.sweeping.jobs import Assignment, Job, Outcome, Stage, State
from sims.sweeping.means import Means
from sims.sweeping.slurm_options import CHECKPOINT_SECONDS, largest_array, megabytes_of, minutes_of
from sims.sweeping.workers import Room
from topology.parsing import toml_of

__all__ = ["ArrayTask", "SlurmWorkers"]

_LOOK_UP_SECONDS = 1.0
_STOP_SECONDS = 5.0
_DEFAULT_MINUTES = 60
_STOP = "stop"
_CLUSTER = "slurm"  # the name of submitit's executor


@dataclass(frozen=True, slots=True)
class _Ended:
    """How a run ended, as it is written for the process that waits."""

    state: State
    evaluations: pl.DataFrame | None
    error: str | None
    seconds: float


class ArrayTask:
    """A run as a task of an array: called by submitit on another machine, which shares this one's disk.

    Parameters
    ----------
    point, stage, seed, run
        As of a `Job`.
    scenario : str
        TOML.
    directory : Path
        For its records.
    stop : Path
        The run stops, with a checkpoint, once there is such a file.
    means : Means
    """

    def __init__(
        self,
        *,
        point: int,
        stage: Stage,
        seed: int,
        run: str,
        scenario: str,
        directory: Path,
        stop: Path,
        means: Means,
    ) -> None:
        self.given: dict[str, Any] = {"point": point, "stage": stage, "seed": seed, "run": run}
        self.scenario, self.directory, self.stop, self.means = scenario, directory, stop, means

    def __call__(self) -> _Ended:
        """Do the run in a thread, so that a signal is heard meanwhile."""
        self._leaving, self._asked = threading.Event(), 0.0
        with ThreadPoolExecutor(max_workers=1) as beside:
            self._doing: Future[_Ended] = beside.submit(self._do)
            return self._doing.result()

    def checkpoint(self) -> Any:
        """Stop the run with a checkpoint, and return it as a task to submit again.

        Called by submitit when the job's time ends, or another job takes its place.
        """
        from submitit.helpers import DelayedSubmission

        self._leaving.set()
        self._doing.result()
        again = ArrayTask(
            **self.given, scenario=self.scenario, directory=self.directory, stop=self.stop, means=self.means
        )
        return DelayedSubmission(again)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def _do(self) -> _Ended:
        from sims.sweeping.single_run import do
        from sims.world.trace_cache import Traces

        scenario = scenario_of(toml_of(self.scenario), source=f"run {self.given['run']}")
        outcome = do(
            Job(**self.given, tuned=None, scenario=scenario),
            self.directory,
            self.means,
            traces=Traces(),
            on_share=lambda share: None,
            interrupted=self._is_to_stop,
        )
        return _Ended(outcome.state, outcome.evaluations, outcome.error, outcome.seconds)

    def _is_to_stop(self) -> bool:
        if not self._leaving.is_set() and time.monotonic() - self._asked > _STOP_SECONDS:
            self._asked = time.monotonic()
            if self.stop.exists():
                self._leaving.set()
        return self._leaving.is_set()


class SlurmWorkers:
    """Job arrays: all runs that can be done are submitted at once.

    Parameters
    ----------
    out : Path, optional
        Directory of the sweep.
    jobs : int, optional
        How many runs at a time.
    means : Means
    options : mapping
        Of sbatch.

    Raises
    ------
    InvalidSweep
        Without a directory.
    SettingError, ClusterUnreachable
        If submitit is not installed, or there is no Slurm here.
    """

    def __init__(
        self,
        out: Path | None,
        *,
        jobs: int | None,
        means: Means,
        options: Mapping[str, str],
    ) -> None:
        if out is None:
            raise InvalidSweep(
                "runs on Slurm need a directory for their records",
                remedy="Give `out`, on a disk that all machines share.",
            )
        if re.search(r"[%\\\x00-\x1f]", str(out.absolute())):
            raise InvalidSweep(
                "submitit cannot write its logs into this directory",
                expected="a path without %, backslashes and control characters",
                got=repr(str(out.absolute())),
                remedy="Choose another --out, or write a script with --script FILE.",
            )
        require_extra("slurm", ["submitit"], what="running on slurm")
        import submitit

        self._out, self._jobs, self._means, self._options = out.absolute(), jobs, means, dict(options)
        try:
            self._executor = submitit.AutoExecutor(folder=self._out / "slurm" / "%j", cluster=_CLUSTER)
        except RuntimeError as error:
            raise ClusterUnreachable(
                "there is no Slurm on this machine",
                got=error,
                remedy="Run the command where `srun` and `sbatch` are; or write a script with --script FILE.",
            ) from error
        self._under_way: dict[Any, Assignment] = {}
        self._most = largest_array()

    @property
    def room(self) -> Room:
        """What is asked for, which is what runs need."""
        return Room(size=None)

    def run(
        self,
        take: Callable[[], Assignment | None],
        done: Callable[[Outcome], None],
        *,
        on_wait: Callable[[float], None],
    ) -> bool:
        """Do jobs; see `sims.sweeping.workers.Workers`."""
        asked = False
        self._stop.unlink(missing_ok=True)
        with interrupts_noted() as interrupted:
            try:
                while True:
                    while not interrupted() and (given := self._takeable(take)):
                        self._submit(given)
                    if interrupted() and not asked:
                        asked = True
                        self._ask_to_stop()
                    if not self._under_way:
                        return not interrupted()
                    for job in [job for job in self._under_way if job.done()]:
                        done(self._outcome(job, self._under_way.pop(job)))
                    on_wait(sum(_share_of(given) for given in self._under_way.values()))
                    if self._under_way:
                        time.sleep(_LOOK_UP_SECONDS)
            finally:
                for job in self._under_way:
                    job.cancel(check=False)

    @property
    def _stop(self) -> Path:
        return self._out / "slurm" / _STOP

    def _takeable(self, take: Callable[[], Assignment | None]) -> list[Assignment]:
        taken: list[Assignment] = []
        while len(taken) < self._most and (given := take()) is not None:
            taken.append(given)
        return taken

    def _submit(self, given: Sequence[Assignment]) -> None:
        from submitit.core.utils import FailedSubmissionError

        self._ask_for(max(each.memory for each in given))
        tasks = [self._task(each) for each in given]
        try:
            with self._executor.batch():
                submitted = [self._executor.submit(task) for task in tasks]
        except (FailedSubmissionError, OSError, ValueError) as error:
            raise ClusterUnreachable("Slurm refuses the job array", got=str(error).strip()) from error
        self._under_way |= dict(zip(submitted, given, strict=True))

    def _task(self, given: Assignment) -> ArrayTask:
        job = given.job
        assert given.directory is not None  # noqa: S101 - there is a directory of the sweep
        return ArrayTask(
            point=job.point,
            stage=job.stage,
            seed=job.seed,
            run=job.run,
            scenario=to_toml(job.scenario),
            directory=given.directory.absolute(),
            stop=self._stop,
            means=self._means,
        )

    def _ask_for(self, memory: int) -> None:
        further = {name: value for name, value in self._options.items() if name != "time"}
        time_limit = self._options.get("time")
        self._executor.update_parameters(
            name="gossipfl-sweep",
            timeout_min=minutes_of(time_limit) if time_limit else _DEFAULT_MINUTES,
            cpus_per_task=self._means.threads,
            mem_gb=megabytes_of(memory) / 1024,
            gpus_per_node=1 if self._means.is_card else 0,
            slurm_signal_delay_s=CHECKPOINT_SECONDS,
            slurm_array_parallelism=self._jobs or self._most,
            slurm_additional_parameters=further,
            slurm_setup=[f"export {name}={value}" for name, value in self._means.environment.items()],
        )

    def _ask_to_stop(self) -> None:
        self._stop.parent.mkdir(parents=True, exist_ok=True)
        self._stop.touch()
        for job, given in list(self._under_way.items()):
            if given.directory is None or not given.directory.exists():
                job.cancel(check=False)
                del self._under_way[job]

    def _outcome(self, job: Any, given: Assignment) -> Outcome:
        try:
            ended: _Ended = job.result()
        except Exception as error:  # the job was lost, whatever of
            lines = str(error).strip().splitlines() or [type(error).__name__]
            return Outcome(job=given.job, state="failed", error=f"job {job.job_id}: {lines[-1]}")
        return Outcome(
            job=given.job,
            state=ended.state,
            evaluations=ended.evaluations,
            error=ended.error,
            seconds=ended.seconds,
        )


def _share_of(given: Assignment) -> float:
    """How far a run is, by its records."""
    if given.directory is None:
        return 0.0
    with suppress(OSError, pl.exceptions.PolarsError):
        return _rounds_of(given.directory) / _total_of(given.job.scenario)
    return 0.0


def _rounds_of(directory: Path) -> float:
    rounds = pl.scan_parquet(directory / "evaluations.parquet").select(pl.col("round").max()).collect()
    return float(rounds.item() or 0.0)


def _total_of(scenario: Scenario) -> float:
    return float(scenario.stop.rounds)
