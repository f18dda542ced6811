"""Places where a sweep runs: this machine, a Ray cluster, Slurm."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sims.cluster.ray_cluster import is_ray
from sims.errors import InvalidSweep
from sims.sweeping.means import Means
from sims.sweeping.pool import Pool
from sims.sweeping.slurm_options import NO_OPTIONS
from sims.sweeping.workers import Workers

__all__ = ["workers_at"]


@contextmanager
def workers_at(
    on: str, *, jobs: int | None, means: Means, out: Path | None = None, slurm: Mapping[str, str] = NO_OPTIONS
) -> Iterator[Workers]:
    """Give the workers of a place.

    Parameters
    ----------
    on : str
        ``local``, ``ray``, ``ray://host:port`` or ``slurm``.
    jobs : int, optional
        How many runs at a time.
    means : Means
        Of each run.
    out : Path, optional
        Directory of the sweep, where a place needs one.
    slurm : mapping
        Options of sbatch.

    Raises
    ------
    InvalidSweep
        If there is no such place.
    """
    if jobs is not None and jobs < 1:
        raise InvalidSweep("jobs: at least one run at a time", expected="a whole number from 1", got=jobs)
    if is_ray(on):
        from sims.sweeping.ray_workers import ray_workers

        with ray_workers(on, jobs=jobs, means=means) as workers:
            yield workers
    elif on == "slurm":
        from sims.sweeping.slurm_workers import SlurmWorkers

        yield SlurmWorkers(out, jobs=jobs, means=means, options=slurm)
    elif on == "local":
        yield Pool(size=jobs or _side_by_side(means), means=means)
    else:
        raise InvalidSweep(
            "there is no such place to run on", expected="local, ray, ray://host:port or slurm", got=on
        )


def _side_by_side(means: Means) -> int:
    """Runs that this machine does at a time: one for its card, else as many as have cores of their own."""
    if means.is_card:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // means.threads)
