"""The loop of a worker process: take a job, run it, report its outcome.

Nothing heavy is imported before the number of threads is settled.
"""

from __future__ import annotations

import os
import shutil
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sims.engine.programme import Compile
    from sims.running import Progress
    from sims.sweeping.jobs import Job, Outcome
    from sims.world.trace_cache import Traces

__all__ = ["work"]

_REPORT_SECONDS = 0.2
_LIBRARIES = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "NUMBA")


def work(connection: Connection, compile_when: Compile) -> None:
    """Do jobs until told to stop, or the other end of the connection is gone.

    Sends True once it is ready, then for each ``(job, directory)`` it receives numbers between 0 and 1, how far
    the run is, and an `Outcome`. Anything that arrives during a run asks it to stop.

    Parameters
    ----------
    connection : Connection
    compile_when : {'auto', 'always', 'never'}
    """
    os.setpgid(0, 0)  # Ctrl-C reaches the process that shares out the jobs alone
    for library in _LIBRARIES:
        os.environ[f"{library}_NUM_THREADS"] = "1"
    import torch

    from sims.world.trace_cache import Traces

    torch.set_num_threads(1)
    traces = Traces()
    try:
        connection.send(True)
        while (given := connection.recv()) is not None:
            job, directory = given
            connection.send(_done(job, directory, connection, compile_when, traces))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _done(
    job: Job, directory: Path | None, connection: Connection, compile_when: Compile, traces: Traces
) -> Outcome:
    from gossipfl.errors import GossipflError
    from sims.running import run
    from sims.sweeping.jobs import Outcome

    started = time.perf_counter()
    reported = started

    def report(progress: Progress) -> None:
        nonlocal reported
        if time.perf_counter() - reported > _REPORT_SECONDS:
            reported = time.perf_counter()
            connection.send(progress.rounds / progress.total)

    try:
        resume = _can_resume(directory)
        result = run(
            None if resume else job.scenario,
            out=directory,
            resume=resume,
            compile_when=compile_when,
            on_progress=report,
            interrupted=connection.poll,
            traces=traces,
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
    if (directory / "checkpoint.safetensors").is_file():
        return True
    shutil.rmtree(directory)
    return False
