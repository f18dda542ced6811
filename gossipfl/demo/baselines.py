"""Baselines of gossip: each peer alone, and one model on all data pooled."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gossipfl.demo.plan import DemoPlan
from gossipfl.errors import InvalidTask
from gossipfl.settings import TrainingSettings
from gossipfl.tasks import Dataset, Task, find_task
from gossipfl.tasks.samples import joined
from gossipfl.training import NodeData, Nodes, Trainer

__all__ = ["Baselines", "baseline", "baseline_steps", "measured", "own_data"]


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """Metrics without gossip, on each peer's test samples, as shares.

    Parameters
    ----------
    alone : tuple of float
        Of each peer, trained on its own data only.
    pooled : tuple of float
        Of one model trained on everything, on the test samples of each peer.
    alone_steps, pooled_steps : int
        Training steps of each.
    """

    alone: tuple[float, ...]
    pooled: tuple[float, ...]
    alone_steps: int
    pooled_steps: int


def baseline_steps(plan: DemoPlan, settings: TrainingSettings) -> tuple[int, int]:
    """Training steps of lone and of pooled training, given the peers' settings."""
    alone, pooled = (max(1, int(settings.decay_age * share)) for share in plan.baseline_steps)
    return alone, pooled


def baseline(
    plan: DemoPlan, settings: TrainingSettings, metric: str, kind: Literal["alone", "pooled"]
) -> tuple[float, ...]:
    """Train without gossip, from the same initial row, with the schedule stretched over the steps.

    Parameters
    ----------
    plan : DemoPlan
    settings : TrainingSettings
        Those of the peers.
    metric : str
        Which of the task's metrics to report, of each peer's test samples.
    kind : str

    Raises
    ------
    TaskError, SettingError
        If the task is wrong.
    """
    task, own = find_task(plan.task, plan.task_options(0)), own_data(plan)
    if metric not in task.metrics:
        raise InvalidTask(f"the task has no metric {metric!r}", expected=", ".join(task.metrics))
    inputs = joined([data.train_inputs for data in own])
    targets = joined([data.train_targets for data in own])
    bounds = np.cumsum([0, *(data.samples for data in own)])
    parts = [np.arange(start, end) for start, end in itertools.pairwise(bounds)]
    alone_steps, pooled_steps = baseline_steps(plan, settings)
    if kind == "alone":
        data, steps = NodeData.partitioned(inputs, targets, parts), alone_steps
    else:
        data, steps = NodeData.of_one_node(inputs, targets), pooled_steps
    stretched = plan.baseline_training(settings).model_copy(update={"decay_age": steps, "local_steps": 1})
    rows = _train(task, Trainer.of(task, data, stretched), steps)
    return measured(task, rows.expand(len(own), -1), own, metric)


def own_data(plan: DemoPlan) -> list[Dataset]:
    """Data of each peer."""
    return [find_task(plan.task, plan.task_options(index)).dataset() for index in range(plan.peers)]


def measured(task: Task, rows: Tensor, own: Sequence[Dataset], metric: str) -> tuple[float, ...]:
    """Measure each peer's row on the peer's own test samples.

    Parameters
    ----------
    task : Task
    rows : Tensor
        Shape ``[peers, D]``.
    own : sequence of Dataset
    metric : str
    """
    return tuple(
        float(task.evaluate(row[None], data.test_inputs, data.test_targets)[metric][0])
        for row, data in zip(rows, own, strict=True)
    )


def _train(task: Task, trainer: Trainer, steps: int) -> Tensor:
    owners = np.arange(len(trainer.data.counts))
    rows = torch.stack([task.initial_row(int(owner)) for owner in owners])
    nodes = Nodes.start(rows, optimiser_state_size=trainer.optimiser_state_size)
    for _ in range(steps):
        nodes, _losses = trainer.train(nodes, owners)
    return nodes.rows
