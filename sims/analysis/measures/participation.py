"""Gains of a run's nodes over learning alone, and what their models do for one another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from gossipfl.errors import GossipflError, InvalidTask
from gossipfl.peer import Home, read_records
from gossipfl.peer.store.recorded_effects import recorded_effects
from sims.analysis.runs.problem import Problem
from sims.analysis.runs.run import Run
from sims.contribution.alone import trained_alone
from sims.contribution.cross_prediction import label_noise
from sims.contribution.measuring import Measure
from sims.contribution.online import effects_of_pairs, few_samples
from sims.contribution.reasons import reasons_of, traits_of
from sims.metrics.gains import GainFairness, fairness_of_gains

__all__ = ["MOST_NODES", "Participation", "participation_of"]

Floats = NDArray[np.float64]

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
    steps : int
        Steps that each did alone: as many as nodes did in the run, on average.
    alone, together : ndarray
        The metric of each one's model, on its own test samples if it has any, ``[n]``.
    gave : ndarray
        Effect of its models: how much merging one lowered another's loss, on average, ``[n]``; NaN if nobody
        merged one.
    reasons : tuple of tuple of str
        What sets apart the data of each node that has less than alone; empty for all others.
    recorded : bool
        Whether effects are those that peers recorded (``evaluation.merge_samples``); otherwise the last models are
        averaged in pairs, and tried on a few test samples.
    fairness : GainFairness
    """

    labels: tuple[str, ...]
    samples: NDArray[np.int64]
    steps: int
    alone: Floats
    together: Floats
    gave: Floats
    reasons: tuple[tuple[str, ...], ...]
    recorded: bool
    fairness: GainFairness

    @property
    def gains(self) -> Floats:
        """What each has more than alone, ``[n]``."""
        return self.together - self.alone


def participation_of(run: Run, problem: Problem, metric: str) -> Participation:
    """Train each node alone for as many steps, and compare.

    Parameters
    ----------
    run : Run
        With its last models.
    problem : Problem
    metric : str

    Raises
    ------
    InvalidTask
        If nodes have no models or did not train, or are too many.
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
    made = run.last("updates") * run.training.local_steps / max(problem.owners, 1)
    steps = max(1, round(made)) if np.isfinite(made) else 1
    trainer = problem.trainer()
    first = torch.stack([problem.task.initial_row(number) for number in range(problem.owners)])
    if problem.task.start == "common":
        first = first[:1]
    wanted = np.zeros(problem.owners, dtype=np.int64)
    wanted[numbers] = steps
    alone = trained_alone(trainer, first.to(problem.dtype), wanted)[torch.from_numpy(numbers)]
    rows = torch.from_numpy(run.rows).to(problem.dtype)
    measure = Measure(problem.task, problem.own_tests, metric)
    together, by_themselves = measure(rows, numbers), measure(alone, numbers)
    gave = _recorded(run)
    recorded = gave is not None
    if gave is None:
        gave = _of_last_models(problem, rows, numbers)
    samples = problem.data.counts[numbers]
    gains = together - by_themselves
    return Participation(
        labels=run.labels,
        samples=samples,
        steps=steps,
        alone=by_themselves,
        together=together,
        gave=gave,
        reasons=_reasons(problem, first[:1].to(problem.dtype), gains, numbers, steps=made),
        recorded=recorded,
        fairness=fairness_of_gains(together, gains, samples=samples, gave=gave, is_loss=measure.is_loss),
    )


def _reasons(
    problem: Problem, first: torch.Tensor, gains: Floats, numbers: NDArray[np.int64], *, steps: float
) -> tuple[tuple[str, ...], ...]:
    """Why nodes have less than alone, as far as their data say."""
    if not (gains < 0).any():
        return ((),) * len(gains)
    trainer = problem.trainer()
    noise = label_noise(problem.task, trainer, first, steps=steps if np.isfinite(steps) else 1.0)
    traits = traits_of(trainer.data, noise)
    return tuple(
        tuple(reasons_of(traits, int(number))) if gain < 0 else ()
        for number, gain in zip(numbers, gains, strict=True)
    )


def _of_last_models(problem: Problem, rows: torch.Tensor, numbers: NDArray[np.int64]) -> Floats:
    """Mean effect of each last model on all others, ``[n]``."""
    n = len(rows)
    pairs = np.argwhere(~np.eye(n, dtype=np.bool_)).astype(np.int64)
    tests = [problem.own_tests[number % len(problem.own_tests)] for number in numbers.tolist()]
    batches = few_samples(tests, n, _SAMPLES, seed=0)
    found = effects_of_pairs(problem.task, problem.task.layout.shared_size, rows, pairs, batches)
    return _means(found)


def _recorded(run: Run) -> Floats | None:
    """Mean recorded effect of each peer's models, ``[n]``; None if no peer recorded any."""
    if not run.homes or len(run.homes) != len(run.labels):
        return None
    homes = [Home(home) for home in run.homes]
    number = {_peer_id(home): k for k, home in enumerate(homes)}
    totals, counts = np.zeros(len(homes)), np.zeros(len(homes))
    for home in homes:
        for sender, effects in recorded_effects(home.records).items():
            if sender in number:
                totals[number[sender]] += sum(effects)
                counts[number[sender]] += len(effects)
    if not counts.any():
        return None
    return np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)


def _peer_id(home: Home) -> str:
    starts = read_records(home.records).filter(pl.col("kind") == "start")
    if not len(starts):
        raise GossipflError("the records of a peer have no start")
    return str(starts["peer"][0])


def _means(effects: Floats) -> Floats:
    known = np.isfinite(effects)
    counted = known.sum(axis=0)
    return np.where(counted > 0, np.where(known, effects, 0.0).sum(axis=0) / np.maximum(counted, 1), np.nan)
