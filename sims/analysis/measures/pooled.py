"""The pooled baseline: one model trained on all samples."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import t as student
from torch import Tensor

from gossipfl.errors import GossipflError
from gossipfl.tasks.samples import take
from gossipfl.training import NodeData, Nodes, Trainer
from sims.analysis.errors import UnknownPooled
from sims.analysis.runs.problem import Problem, problem_of
from sims.analysis.runs.run import Run
from sims.analysis.runs.simulated import is_simulated, read_simulated

__all__ = ["Pooled", "pooled_choice", "pooled_for_all", "train_pooled"]

# Three steps for one of a node: as good as it gets, rather than as fast.
_STEPS_FOR_EACH = 3
_SEEDS = 3
_FACTOR, _MOST_TRIALS = 3.0, 7
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
    within : dict of str to float
        Half the width of each value's 95 % interval over seeds (Student's t); empty if there is one figure only.
    """

    values: dict[str, float]
    source: str
    within: dict[str, float] = field(default_factory=dict)


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
    """Train once for all runs that learn from the same samples with the same settings but for their step sizes.

    Returns
    -------
    dict of int to Pooled
        Keyed by ``id(run)``; without runs that only average, or whose task cannot be built here.
    """
    alike: dict[str, list[Run]] = {}
    for run in runs:
        if run.learns and len(run.labels) > 1:  # one home alone pools nobody's samples
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
    settings = run.training.model_dump(mode="json", exclude={"learning_rate"})
    return json.dumps([run.task, each[0], settings, seed, kept], default=str)


def _steps(run: Run) -> int:
    """Training steps of a node, on average."""
    made = run.last("updates") * run.training.local_steps / max(len(run.labels), 1)
    return int(made) if math.isfinite(made) else 0


def train_pooled(run: Run, problem: Problem) -> Pooled:
    """Train one model on all samples, from a run's initial model, with a step size of its own.

    The step size is that with the least loss on a tenth of the samples, after as many steps as a node made on the
    others: the run's own, a third of it, three times it, and so on while the best is the smallest or the largest
    tried. Then a model is trained on all samples with each of three seeds of its batches, with three times as many
    steps as a node made; its step size falls as the nodes' did, over its own steps. A step has a batch as large as
    a node's: the mean of all nodes' batches at each step is another algorithm, ``pooled_sgd``.

    Parameters
    ----------
    run : Run
    problem : Problem
    """
    node_steps = int(np.clip(_steps(run), 1, _MOST_STEPS // _STEPS_FOR_EACH))
    pool = np.unique(problem.data.indices)
    rate = _best_rate(run, problem, pool, steps=node_steps)
    steps = _STEPS_FOR_EACH * node_steps
    rows = _trained(run, problem, [pool] * _SEEDS, steps=steps, rate=rate)
    found = problem.evaluate(rows)
    t = float(student.ppf(0.975, _SEEDS - 1)) / math.sqrt(_SEEDS)
    return Pooled(
        values={name: float(value.mean()) for name, value in found.items()},
        within={name: float(t * value.std(ddof=1)) for name, value in found.items()},
        source=f"one model on all samples, {steps:,} steps of {rate:.3g}, the best of those tried; {_SEEDS} seeds",
    )


def _best_rate(run: Run, problem: Problem, pool: NDArray[np.int64], *, steps: int) -> float:
    """Step size with the least loss on a tenth of the samples, trained on the others."""
    first = run.training.learning_rate
    order = np.random.Generator(np.random.Philox(key=[run.seed or 0, 3])).permutation(pool)
    held = len(pool) // 10
    if not held:
        return first
    measured, rest = np.sort(order[:held]), np.sort(order[held:])
    index = torch.from_numpy(measured)
    inputs, targets = take(problem.data.inputs, index), take(problem.data.targets, index)
    losses: dict[int, float] = {}

    def tried(power: int) -> None:
        rows = _trained(run, problem, [rest], steps=steps, rate=first * _FACTOR**power)
        loss = float(problem.task.evaluate(rows, inputs, targets)["loss"][0])
        losses[power] = loss if math.isfinite(loss) else math.inf

    for power in (0, -1, 1):
        tried(power)
    while len(losses) < _MOST_TRIALS:
        best = min(losses, key=losses.__getitem__)
        if best not in (min(losses), max(losses)):
            break
        tried(best + (1 if best == max(losses) else -1))
    return float(first * _FACTOR ** min(losses, key=losses.__getitem__))


def _trained(
    run: Run, problem: Problem, samples: Sequence[NDArray[np.int64]], *, steps: int, rate: float
) -> Tensor:
    """Rows trained on these samples each, ``[B, D]``; their batches differ."""
    age = max(run.last("age_mean"), 1.0)
    decay_age = max(1, round(run.training.decay_age * steps / age))
    settings = run.training.model_copy(
        update={"local_steps": 1, "decay_age": decay_age, "learning_rate": rate}
    )
    data = NodeData.partitioned(problem.data.inputs, problem.data.targets, samples)
    trainer = Trainer.of(problem.task, data, settings, dtype=problem.dtype)
    row = problem.task.initial_row()[None].to(problem.dtype).repeat(len(samples), 1)
    nodes = Nodes.start(row, optimiser_state_size=trainer.optimiser_state_size)
    owners = np.arange(len(samples))
    with torch.no_grad():
        for _ in range(steps):
            nodes, _losses = trainer.train(nodes, owners)
    return nodes.rows
