"""Single runs of a sweep, and their outcomes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from sims.scenario import Scenario, to_toml

__all__ = ["Assignment", "Job", "Outcome", "Stage", "State", "run_id"]

Stage = Literal["tuning", "runs"]
State = Literal["finished", "interrupted", "failed", "impossible"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A run to do.

    Parameters
    ----------
    point : int
        Number of its point.
    stage : {'tuning', 'runs'}
        Whether it is a trial of a step size, or reported.
    seed : int
    tuned : float, optional
        Value of the key that is tuned.
    run : str
        Names the run: a function of its scenario, so that the same run is found again.
    scenario : Scenario
    """

    point: int
    stage: Stage
    seed: int
    tuned: float | None
    run: str
    scenario: Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A job to hand to whoever does it.

    Parameters
    ----------
    job : Job
    directory : Path, optional
        For its records.
    memory : int
        Bytes it needs, as estimated for its point.
    """

    job: Job
    directory: Path | None
    memory: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of a job.

    Parameters
    ----------
    job : Job
    state : State
    evaluations : polars.DataFrame, optional
        As the run recorded them; none for an interrupted or failed run.
    error : str, optional
        Why it failed.
    seconds : float
        Wall time it took.
    """

    job: Job
    state: State
    evaluations: pl.DataFrame | None = None
    error: str | None = None
    seconds: float = 0.0


def run_id(scenario: Scenario) -> str:
    """Twelve hexadecimal digits that identify a scenario, whatever its name."""
    text = to_toml(scenario.model_copy(update={"name": ""}))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
