"""Baselines of gossip: each peer alone, and one model on all data pooled."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gossipfl.errors import InvalidTask
from gossipfl.settings import TrainingSettings
from gossipfl.tasks import Dataset, Task
from gossipfl.tasks.samples import joined
from gossipfl.training import NodeData, Nodes, Trainer

__all__ = ["Baselines", "measured", "train_baselines"]

# An age grows by about two while a peer does one step, because a merge takes the larger age. So a peer does half
# as many steps as the schedule is long; pooled training gets three times that.
_ALONE_STEPS_PER_DECAY_AGE = 0.5
_POOLED_STEPS_PER_DECAY_AGE = 1.5


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


def train_baselines(task: Task, own: Sequence[Dataset], settings: TrainingSettings, metric: str) -> Baselines:
    """Train without gossip, from the same initial row and with the same settings.

    The schedule is stretched over the steps: for lone training about as many as a peer does in the demo, for
    pooled training three times as many, so that it is as good as these settings make it.

    Parameters
    ----------
    task : Task
        Of any peer: they differ in their data.
    own : sequence of Dataset
        Of each peer.
    settings : TrainingSettings
        Those of the peers.
    metric : str
        Which of the task's metrics to report.

    Raises
    ------
    TaskError, SettingError
        If the task is wrong.
    """
    if metric not in task.metrics:
        raise InvalidTask(f"the task has no metric {metric!r}", expected=", ".join(task.metrics))
    inputs = joined([data.train_inputs for data in own])
    targets = joined([data.train_targets for data in own])
    bounds = np.cumsum([0, *(data.samples for data in own)])
    parts = [np.arange(start, end) for start, end in itertools.pairwise(bounds)]

    def measure(data: NodeData, steps: int) -> tuple[float, ...]:
        stretched = settings.model_copy(update={"decay_age": steps, "local_steps": 1})
        rows = _train(task, Trainer.of(task, data, stretched), steps)
        return measured(task, rows.expand(len(own), -1), own, metric)

    alone_steps = max(1, int(settings.decay_age * _ALONE_STEPS_PER_DECAY_AGE))
    pooled_steps = max(1, int(settings.decay_age * _POOLED_STEPS_PER_DECAY_AGE))
    alone = measure(NodeData.partitioned(inputs, targets, parts), alone_steps)
    pooled = measure(NodeData.of_one_node(inputs, targets), pooled_steps)
    return Baselines(alone=alone, pooled=pooled, alone_steps=alone_steps, pooled_steps=pooled_steps)


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
