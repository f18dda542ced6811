"""Gains of a run's nodes over learning alone, what their models do for one another, and who stands out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from gossipfl.errors import InvalidTask
from sims.analysis.measures.recorded_work import RecordedWork, recorded_work
from sims.analysis.measures.worth import Worth
from sims.analysis.runs.problem import Problem
from sims.analysis.runs.run import Run
from sims.contribution.alone import trained_alone
from sims.contribution.cross_prediction import label_noise
from sims.contribution.flags import Flags, flags_at
from sims.contribution.gain import mean_and_reach
from sims.contribution.measuring import Measure
from sims.contribution.online import effects_of_pairs, few_samples
from sims.contribution.reasons import reasons_of, traits_of
from sims.metrics.gains import GainFairness, fairness_of_gains, rank_correlation

__all__ = ["MOST_NODES", "Participation", "participation_of"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Nodes up to which each is trained alone, and all pairs are tried.
MOST_NODES = 256
_SAMPLES = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Participation:
    """Who gained, and who gave, in one run; measures are the better the higher, so losses have their sign changed.

    Parameters
    ----------
    labels : tuple of str
        Of the n nodes.
    samples : ndarray
        Number of each one's training samples, int64 ``[n]``.
    steps : ndarray
        Number of steps that each did alone, int64 ``[n]``: as many as it recorded; in simulations as many as nodes
        did on average.
    alone, together : ndarray
        The metric of each one's model, on its own test samples if it has any, ``[n]``.
    low, high : ndarray
        Ends of the confidence interval of each gain, over test samples, ``[n]``; NaN for one sample.
    gave : ndarray
        Effect of its models: how much merging one lowered another's loss, on average, ``[n]``; NaN if nobody
        merged one.
    reasons : tuple of tuple of str
        What sets apart the data of each node that has less than alone, and who stands out among those it averages
        with; empty for all others.
    flags : tuple of tuple of str
        What stands out of each node: that it learns nothing, has another's samples, or wrong labels.
    recorded : bool
        Whether effects are those that peers recorded (``evaluation.merge_samples``); otherwise the last models are
        averaged in pairs, and tried on a few test samples.
    fairness : GainFairness
    worth : Worth, optional
        Contributions by simulated coalitions, if these were asked for.
    """

    labels: tuple[str, ...]
    samples: Ints
    steps: Ints
    alone: Floats
    together: Floats
    low: Floats
    high: Floats
    gave: Floats
    reasons: tuple[tuple[str, ...], ...]
    flags: tuple[tuple[str, ...], ...]
    recorded: bool
    fairness: GainFairness
    worth: Worth | None = None

    @property
    def gains(self) -> Floats:
        """What each has more than alone, ``[n]``."""
        return self.together - self.alone

    def with_worth(self, worth: Worth) -> Participation:
        """With the contributions of all nodes of the network, of which these are some."""
        numbers = np.array([int(label.split()[-1]) for label in self.labels], dtype=np.int64)
        return replace(self, worth=worth.of_nodes(numbers))

    @property
    def gave_and_worth(self) -> tuple[float, float]:
        """Rank correlation of effects with Shapley values, and with what is lost without each; NaN if unknown."""
        if self.worth is None:
            return float("nan"), float("nan")
        return rank_correlation(self.gave, self.worth.shapley), rank_correlation(
            self.gave, self.worth.left_out
        )


def participation_of(run: Run, problem: Problem, metric: str, *, confidence: float = 0.95) -> Participation:
    """Train each node alone for as many steps, and compare.

    Parameters
    ----------
    run : Run
        With its last models.
    problem : Problem
    metric : str
    confidence : float
        Of intervals.

    Raises
    ------
    InvalidTask
        If nodes have no models or did not train, or are too many.
    GossipflError
        If records of peers cannot be read.
    """
    if run.rows is None or not run.learns or not np.isfinite(run.rows).all():
        raise InvalidTask("gains need the last models of nodes that train, all of them finite")
    if len(run.rows) > MOST_NODES:
        raise InvalidTask(
            "gains are measured by training each node alone",
            expected=f"at most {MOST_NODES} nodes",
            got=len(run.rows),
            remedy="Analyse a run of fewer nodes.",
        )
    numbers = np.array([int(label.split()[-1]) for label in run.labels], dtype=np.int64)
    work = recorded_work(run.homes) if run.homes else None
    steps = _steps(run, problem, work)
    first = torch.stack([problem.task.initial_row(number) for number in problem.data.numbers.tolist()])
    if problem.task.start == "common":
        first = first[:1]
    first = first.to(problem.dtype)
    wanted = np.zeros(problem.owners, dtype=np.int64)
    wanted[numbers] = steps[numbers]
    alone = trained_alone(problem.trainer(), first, wanted)[torch.from_numpy(numbers)]
    rows = torch.from_numpy(run.rows).to(problem.dtype)
    measure = Measure(problem.task, problem.own_tests, metric)
    together, by_themselves = measure(rows, numbers), measure(alone, numbers)
    gains = together - by_themselves
    low, high = _intervals(measure, rows, alone, numbers, confidence)
    gave = None if work is None or work.gave is None else work.gave[numbers]
    recorded = gave is not None
    if gave is None:
        gave = _of_last_models(problem, rows, numbers)
    samples = problem.data.counts[numbers]
    flags, reasons = _told(problem, first[:1], rows, gains, numbers, steps=steps)
    return Participation(
        labels=run.labels,
        samples=samples,
        steps=steps[numbers],
        alone=by_themselves,
        together=together,
        low=low,
        high=high,
        gave=gave,
        reasons=reasons,
        flags=flags,
        recorded=recorded,
        fairness=fairness_of_gains(together, gains, samples=samples, gave=gave, is_loss=measure.is_loss),
    )


def _steps(run: Run, problem: Problem, work: RecordedWork | None) -> Ints:
    """How many steps each owner of samples did, int64 ``[owners]``."""
    if work is not None:
        return work.steps
    made = run.last("updates") * run.training.local_steps / max(problem.owners, 1)
    return np.full(problem.owners, max(1, round(made)) if np.isfinite(made) else 1, dtype=np.int64)


def _intervals(
    measure: Measure, rows: torch.Tensor, alone: torch.Tensor, numbers: Ints, confidence: float
) -> tuple[Floats, Floats]:
    """Confidence interval of each gain, over test samples or parts of them."""
    ends = []
    for (after, sizes), (before, _) in zip(
        measure.in_parts(rows, numbers), measure.in_parts(alone, numbers), strict=True
    ):
        mean, reach = mean_and_reach(after - before, sizes, confidence)
        ends.append((mean - reach, mean + reach))
    low, high = np.array(ends).T
    return low, high


def _told(
    problem: Problem, first: torch.Tensor, rows: torch.Tensor, gains: Floats, numbers: Ints, *, steps: Ints
) -> tuple[tuple[tuple[str, ...], ...], tuple[tuple[str, ...], ...]]:
    """What stands out of each node, and why nodes have less than alone, as far as their data say."""
    if problem.owners < 2:  # nobody to be compared with
        return ((),) * len(gains), ((),) * len(gains)
    trainer = problem.trainer()
    noise = label_noise(problem.task, trainer, first, steps=float(max(steps.mean(), 1.0)))
    found = flags_at(trainer, rows, noise)
    idle = {*found.free_riders, *np.flatnonzero(steps == 0).tolist()}
    found = Flags(
        free_riders=tuple(sorted(idle)),
        duplicates=found.duplicates,
        noisy=tuple(node for node in found.noisy if node not in idle),
    )
    reasons: list[tuple[str, ...]] = [()] * len(gains)
    if (gains < 0).any():
        traits = traits_of(trainer.data, noise)
        for place in np.flatnonzero(gains < 0).tolist():
            number = int(numbers[place])
            reasons[place] = (*reasons_of(traits, number), *found.among_others(number))
    return tuple(tuple(found.of(int(number))) for number in numbers), tuple(reasons)


def _of_last_models(problem: Problem, rows: torch.Tensor, numbers: NDArray[np.int64]) -> Floats:
    """Mean effect of each last model on all others, ``[n]``."""
    n = len(rows)
    pairs = np.argwhere(~np.eye(n, dtype=np.bool_)).astype(np.int64)
    tests = [problem.own_tests[number % len(problem.own_tests)] for number in numbers.tolist()]
    batches = few_samples(tests, n, _SAMPLES, seed=0)
    found = effects_of_pairs(problem.task, problem.task.layout.shared_size, rows, pairs, batches)
    return _means(found)


def _means(effects: Floats) -> Floats:
    known = np.isfinite(effects)
    counted = known.sum(axis=0)
    return np.where(counted > 0, np.where(known, effects, 0.0).sum(axis=0) / np.maximum(counted, 1), np.nan)
