"""Parts of a sweep that are done independently: a run; or a point, where its step size is chosen first."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sims.engine.programme import Compile
from sims.errors import InvalidSweep, SweepDirectoryError
from sims.sweeping.callbacks import callbacks_for
from sims.sweeping.checking import Checked, check
from sims.sweeping.directory import SweepDirectory, locked, saved_sweep
from sims.sweeping.jobs import Outcome
from sims.sweeping.means import Means
from sims.sweeping.plans import Schedule, plan_of, planned_jobs
from sims.sweeping.points import Point, points_of
from sims.sweeping.settings import Sweep
from sims.sweeping.single_run import do
from sims.sweeping.workers import Room
from sims.world.trace_cache import Traces

__all__ = ["Part", "PartResult", "do_part", "parts_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a sweep.

    Parameters
    ----------
    number : int
        Counted from 1.
    point : Point
    seeds : tuple of int
        Reported seeds of its runs: one, or all where the point is tuned.
    """

    number: int
    point: Point
    seeds: tuple[int, ...]

    def __str__(self) -> str:
        seeds = ", ".join(map(str, self.seeds))
        return f"part {self.number}: {self.point}, seed{'s' * (len(self.seeds) > 1)} {seeds}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartResult:
    """How a part ended.

    Parameters
    ----------
    part : Part
    finished : bool
        False if it was interrupted: its runs have checkpoints, and it can be done again.
    refusal : str, optional
        Why its point cannot be simulated.
    outcomes : tuple of Outcome
        Those that an earlier process had done included.
    """

    part: Part
    finished: bool
    refusal: str | None
    outcomes: tuple[Outcome, ...]


def parts_of(sweep: Sweep) -> list[Part]:
    """All parts of a sweep, in order.

    Raises
    ------
    InvalidSweep
        As `points_of`.
    """
    each = [sweep.seeds] if sweep.tune is not None else [(seed,) for seed in sweep.seeds]
    pairs = [(point, seeds) for point in points_of(sweep) for seeds in each]
    return [
        Part(number=number, point=point, seeds=seeds) for number, (point, seeds) in enumerate(pairs, start=1)
    ]


def do_part(
    out: Path | str,
    number: int,
    *,
    threads: int = 1,
    device: str = "cpu",
    compile_when: Compile = "never",
    on_share: Callable[[float], None] = lambda share: None,
    callbacks: Sequence[str] = (),
) -> PartResult:
    """Do a part of the sweep in a directory, in this process, after what earlier processes did of it.

    Results are those of a local sweep, if the environment had libraries start with as many threads. Other parts
    may be done meanwhile, by processes on any machine that shares the directory. The dataset is not written:
    resuming the sweep does that.

    Parameters
    ----------
    out : path
        Directory of a sweep.
    number : int
        From 1.
    threads, device, compile_when, callbacks
        As for `sims.sweep`.
    on_share : callable
        Told how far the current run is, between 0 and 1.

    Raises
    ------
    SweepDirectoryError
        If it holds no sweep, or another process does this part.
    InvalidSweep
        If there is no such part.
    SimulationError
        As `sims.sweep`, about the point.

    Notes
    -----
    On Ctrl-C, which Slurm sends before a job's time ends, the current run stops and writes a checkpoint.
    """
    directory, sweep = SweepDirectory(Path(out)), saved_sweep(Path(out))
    parts = parts_of(sweep)
    if not 1 <= number <= len(parts):
        raise InvalidSweep("the sweep has no such part", expected=f"1 to {len(parts)}", got=number)
    part = parts[number - 1]
    own = sweep.model_copy(update={"seeds": part.seeds})
    means = Means(
        threads=threads,
        device=device,
        compile_when=compile_when,
        callbacks=callbacks_for(sweep, callbacks),
    )
    with directory.shared(), _alone(directory.path / "parts" / f"{number}.lock", part):
        (checked,) = check(own, [part.point], room=Room(size=None))
        if checked.refusal is not None:
            return PartResult(part=part, finished=True, refusal=checked.refusal, outcomes=())
        outcomes = _outcomes(own, checked, directory, means, on_share)
    finished = all(outcome.state != "interrupted" for outcome in outcomes)
    return PartResult(part=part, finished=finished, refusal=None, outcomes=tuple(outcomes))


def _outcomes(
    sweep: Sweep,
    checked: Checked,
    directory: SweepDirectory,
    means: Means,
    on_share: Callable[[float], None],
) -> list[Outcome]:
    schedule = Schedule([plan_of(sweep, checked.point)], jobs_each=planned_jobs(sweep))
    traces, outcomes = Traces(), []
    while (job := schedule.next()) is not None:
        outcome = directory.kept(job) or do(
            job,
            directory.of(job),
            means,
            traces=traces,
            on_share=on_share,
            interrupted=lambda: False,
        )
        outcomes.append(outcome)
        if outcome.state == "interrupted":
            break
        schedule.done(outcome)
    return outcomes


@contextmanager
def _alone(file: Path, part: Part) -> Iterator[None]:
    """Hold a part, so that no two processes do it."""
    try:
        file.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise SweepDirectoryError(f"{file.parent} cannot be made: {error.strerror}") from error
    with locked(file, fcntl.LOCK_EX, in_use=f"another process does {part}"):
        yield
