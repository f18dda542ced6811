"""The pooled baseline: one model trained on all samples."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from gossipfl.errors import GossipflError
from gossipfl.training import NodeData, Nodes, Trainer
from sims.analysis.errors import UnknownPooled
from sims.analysis.runs.problem import Problem, problem_of
from sims.analysis.runs.run import Run
from sims.analysis.runs.simulated import is_simulated, read_simulated

__all__ = ["Pooled", "pooled_choice", "pooled_for_all", "train_pooled"]

# Three steps for one of a node: as good as these settings make it, rather than as fast.
_STEPS_FOR_EACH = 3
_MOST_STEPS = 100_000
# Options of a task's factory that say which part of the samples is whose.
_PARTS = frozenset({"partition", "peers", "index"})


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """Pooled training.

    Parameters
    ----------
    values : dict of str to float
        Loss and metrics on the test samples, as far as known.
    source : str
        Where the values come from.
    """

    values: dict[str, float]
    source: str


def pooled_choice(text: str, metric: str) -> Pooled | None:
    """Read the user's choice of pooled training.

    Parameters
    ----------
    text : str
        ``train`` (None is returned: it is yet to be trained), ``none``, a figure, or the directory of a run of
        pooled training.
    metric : str
        The metric that a figure refers to.

    Raises
    ------
    UnknownPooled
        If it is none of these.
    """
    if text == "train":
        return None
    if text == "none":
        return Pooled(values={}, source="")
    try:
        return Pooled(values={metric: float(text)}, source="given")
    except ValueError:
        pass
    directory = Path(text)
    if not is_simulated(directory):
        raise UnknownPooled(
            f"pooled training {text!r} is unknown",
            expected="train, none, a figure such as 0.97, or the directory of a simulated run",
        )
    run = read_simulated(directory)
    return Pooled(
        values={name: run.last(f"{name}_mean") for name in run.metrics}, source=f"the run in {directory}"
    )


def pooled_for_all(runs: Sequence[Run]) -> dict[int, Pooled]:
    """Train once for all runs that learn from the same samples with the same settings.

    Returns
    -------
    dict of int to Pooled
        Keyed by ``id(run)``; without runs that only average, or whose task cannot be built here.
    """
    alike: dict[str, list[Run]] = {}
    for run in runs:
        if run.learns:
            alike.setdefault(_samples_and_settings(run), []).append(run)
    trained = {}
    for own in alike.values():
        longest = max(own, key=_steps)
        try:
            pooled = train_pooled(longest, problem_of(longest))
        except GossipflError:
            continue  # the run's measurement says why
        trained.update({id(run): pooled for run in own})
    return trained


def _samples_and_settings(run: Run) -> str:
    """All that pooled training of a run depends on."""
    each = [{k: v for k, v in own.items() if k not in _PARTS} for own in run.task_options]
    drawn = run.configuration.get("task.samples_per_node") is not None
    seed = run.seed if drawn else None
    kept = None if run.scenario is None else run.scenario.evaluate.validation
    return json.dumps([run.task, each[0], run.training.model_dump(mode="json"), seed, kept], default=str)


def _steps(run: Run) -> int:
    """Training steps of a node, on average."""
    made = run.last("updates") * run.training.local_steps / max(len(run.labels), 1)
    return int(made) if math.isfinite(made) else 0


def train_pooled(run: Run, problem: Problem) -> Pooled:
    """Train one model on all samples, with a run's settings and from its initial model.

    It takes three times as many steps as a node did, and its step size falls as the nodes' did, over its own
    steps.

    Parameters
    ----------
    run : Run
    problem : Problem
    """
    steps = int(np.clip(_STEPS_FOR_EACH * _steps(run), 1, _MOST_STEPS))
    age = max(run.last("age_mean"), 1.0)
    settings = run.training.model_copy(
        update={"local_steps": 1, "decay_age": max(1, round(run.training.decay_age * steps / age))}
    )
    pool = np.unique(problem.data.indices)
    data = NodeData.partitioned(problem.data.inputs, problem.data.targets, [pool])
    trainer = Trainer.of(problem.task, data, settings, dtype=problem.dtype)
    row = problem.task.initial_row()[None].to(problem.dtype)
    nodes = Nodes.start(row, optimiser_state_size=trainer.optimiser_state_size)
    with torch.no_grad():
        for _ in range(steps):
            nodes, _losses = trainer.train(nodes, np.zeros(1, dtype=np.int64))
    values = {name: float(value[0]) for name, value in problem.evaluate(nodes.rows).items()}
    return Pooled(values=values, source=f"one model on all samples, {steps:,} steps")
