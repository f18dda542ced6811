"""A job of a sweep, done in this process: the one way in which local, Ray's and Slurm's processes do it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import torch

from gossipfl.errors import GossipflError
from gossipfl.tasks import Dataset
from sims.running import Progress, run
from sims.running.checkpoint import CHECKPOINT
from sims.sweeping.jobs import Job, Outcome
from sims.sweeping.means import Means
from sims.world.trace_cache import Traces

__all__ = ["SHARE_SECONDS", "do"]

SHARE_SECONDS = 0.2
"""Time between two reports of how far a run is."""


def do(
    job: Job,
    directory: Path | None,
    means: Means,
    *,
    traces: Traces,
    on_share: Callable[[float], None],
    interrupted: Callable[[], bool],
    data: Dataset | None = None,
) -> Outcome:
    """Do a job, going on from the checkpoint of an earlier process if there is one.

    Parameters
    ----------
    job : Job
    directory : Path, optional
        For its records.
    means : Means
    traces : Traces
        Of earlier jobs in this process.
    on_share : callable
        Told how far the run is, between 0 and 1, a few times a second at most.
    interrupted : callable
        Asked often; once it returns True the run stops, with a checkpoint.
    data : Dataset, optional
        As the task would read it.

    Returns
    -------
    Outcome
        Also of a run that failed, whatever of; only interruptions and a broken connection are raised.
    """
    torch.set_num_threads(means.threads)
    started = time.perf_counter()
    reported = started

    def report(progress: Progress) -> None:
        nonlocal reported
        if time.perf_counter() - reported > SHARE_SECONDS:
            reported = time.perf_counter()
            on_share(progress.rounds / progress.total)

    try:
        resume = _can_resume(directory)
        result = run(
            None if resume else job.scenario,
            out=directory,
            resume=resume,
            threads=means.threads,
            device=means.device,
            compile_when=means.compile_when,
            on_progress=report,
            interrupted=interrupted,
            traces=traces,
            data=data,
            callbacks=means.callbacks,
        )
    except (EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        raise
    except Exception as error:  # a run that fails, whatever of, ends no other
        said = str(error) if isinstance(error, GossipflError) else f"{type(error).__name__}: {error}"
        return Outcome(job=job, state="failed", error=said, seconds=time.perf_counter() - started)
    return Outcome(
        job=job,
        state="finished" if result.finished else "interrupted",
        evaluations=result.evaluations if result.finished else None,
        seconds=time.perf_counter() - started,
    )


def _can_resume(directory: Path | None) -> bool:
    """Whether an earlier run left a checkpoint here; one that left none is removed."""
    if directory is None or not directory.exists():
        return False
    if (directory / CHECKPOINT).is_file():
        return True
    shutil.rmtree(directory)
    return False
