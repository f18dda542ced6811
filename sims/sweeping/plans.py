"""Plans of a point: the jobs to run, in order, given the outcomes so far."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from sims.errors import InvalidSweep
from sims.scenario import Scenario
from sims.sweeping.jobs import Job, Outcome, Stage, run_id
from sims.sweeping.keys import look_up
from sims.sweeping.points import Point, scenario_at
from sims.sweeping.scores import score_of
from sims.sweeping.search import GeometricSearch
from sims.sweeping.settings import Sweep

__all__ = ["Plan", "Schedule", "plan_of", "planned_jobs", "search_of"]

Plan: TypeAlias = Generator[Sequence[Job], Sequence[Outcome], None]


def planned_jobs(sweep: Sweep) -> int:
    """Number of runs a point takes."""
    tuning = sweep.tune.values * len(sweep.tune.seeds) if sweep.tune else 0
    return tuning + len(sweep.seeds)


def search_of(sweep: Sweep, scenario: Scenario) -> GeometricSearch:
    """The search of a step size at a point.

    Raises
    ------
    InvalidSweep
        If the key to tune is not a positive number there.
    """
    tune = sweep.tune
    assert tune is not None  # noqa: S101 - the caller asked
    around = tune.around if tune.around is not None else look_up(scenario, tune.key)
    if isinstance(around, bool) or not isinstance(around, (int, float)) or not around > 0:
        raise InvalidSweep(
            f"tune.key: {tune.key!r} is not a positive number in the scenario",
            got=around,
            remedy="Tune a key such as training.learning_rate, or give tune.around.",
        )
    return GeometricSearch(around=float(around), ratio=tune.ratio, budget=tune.values)


def plan_of(sweep: Sweep, point: Point) -> Plan:
    """Runs of a point: with all seeds; or first, with other seeds, those that choose its step size."""
    if sweep.tune is None:
        yield [_job(sweep, point, stage="runs", seed=seed) for seed in sweep.seeds]
        return
    search = search_of(sweep, scenario_at(sweep, point, seed=sweep.seeds[0]))
    scores: dict[float, float] = {}
    while wanted := search.wanted(scores):
        outcomes = yield [
            _job(sweep, point, stage="tuning", seed=seed, tuned=search.value(exponent))
            for exponent in wanted
            for seed in sweep.tune.seeds
        ]
        for exponent in wanted:
            own = [o for o in outcomes if o.job.tuned == search.value(exponent)]
            scores[exponent] = sum(_upward(sweep, outcome) for outcome in own) / len(own)
    best = search.best(scores)
    if math.isfinite(scores[best]):
        yield [_job(sweep, point, stage="runs", seed=seed, tuned=search.value(best)) for seed in sweep.seeds]


def _job(sweep: Sweep, point: Point, *, stage: Stage, seed: int, tuned: float | None = None) -> Job:
    more: dict[str, Any] = {}
    if sweep.tune is not None and tuned is not None:
        more[sweep.tune.key] = tuned
        if stage == "tuning" and sweep.tune.validation:
            more["evaluate.validation"] = sweep.tune.validation
    scenario = scenario_at(sweep, point, seed=seed, more=more)
    return Job(
        point=point.number, stage=stage, seed=seed, tuned=tuned, run=run_id(scenario), scenario=scenario
    )


def _upward(sweep: Sweep, outcome: Outcome) -> float:
    """Score for which larger is better, −∞ for a run that failed or diverged."""
    score = score_of(outcome.evaluations, sweep)
    if score is None:
        return -math.inf
    return score if sweep.direction == "maximise" else -score


@dataclass(slots=True)
class _Step:
    """Jobs that a plan waits for."""

    plan: Plan
    jobs: Sequence[Job]
    left: int
    outcomes: dict[str, Outcome]


class Schedule:
    """Distributes the jobs of many plans, and passes each plan its outcomes once all it asked for are done.

    Parameters
    ----------
    plans : sequence
    jobs_each : int
        How many jobs a plan has, unless it ends early.
    """

    def __init__(self, plans: Sequence[Plan], *, jobs_each: int) -> None:
        self.total, self._jobs_each = len(plans) * jobs_each, jobs_each
        self._ready: deque[Job] = deque()
        self._steps: dict[str, _Step] = {}
        self._plans: Iterator[Plan] = iter(plans)

    def next(self) -> Job | None:
        """A job not yet taken; None if there is none for now."""
        while not self._ready:
            plan = next(self._plans, None)
            if plan is None:
                return None
            self._begin(plan, next(plan), left=self._jobs_each)
        return self._ready.popleft()

    def done(self, outcome: Outcome) -> None:
        """Record the outcome of a job."""
        step = self._steps.pop(outcome.job.run)
        step.outcomes[outcome.job.run] = outcome
        if len(step.outcomes) == len(step.jobs):
            try:
                jobs = step.plan.send([step.outcomes[job.run] for job in step.jobs])
            except StopIteration:
                self.total -= step.left
            else:
                self._begin(step.plan, jobs, left=step.left)

    def _begin(self, plan: Plan, jobs: Sequence[Job], *, left: int) -> None:
        step = _Step(plan, jobs, left - len(jobs), {})
        self._steps |= {job.run: step for job in jobs}
        self._ready.extend(jobs)
