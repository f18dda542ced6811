"""Baselines of gossip: each peer alone, and one model on all data pooled."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gossipfl.demo.plan import DemoPlan
from gossipfl.errors import InvalidTask
from gossipfl.settings import TrainingSettings
from gossipfl.tasks import Task, find_task
from gossipfl.tasks.samples import joined
from gossipfl.training import NodeData, Nodes, Trainer

__all__ = ["Baselines", "train_baselines"]

# An age grows by about two while a peer does one step, because a merge takes the larger age. So a peer does half
# as many steps as the schedule is long; pooled training gets three times that.
_ALONE_STEPS_PER_DECAY_AGE = 0.5
_POOLED_STEPS_PER_DECAY_AGE = 1.5


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """Metrics without gossip, on the same test samples, as shares.

    Parameters
    ----------
    alone : tuple of float
        Of each peer, trained on its own data only.
    pooled : float
        Of one model trained on everything.
    alone_steps, pooled_steps : int
        Training steps of each.
    """

    alone: tuple[float, ...]
    pooled: float
    alone_steps: int
    pooled_steps: int


def train_baselines(plan: DemoPlan, settings: TrainingSettings, metric: str) -> Baselines:
    """Train without gossip, from the same initial row and with the same settings.

    The schedule is stretched over the steps: for lone training about as many as a peer does in the demo, for
    pooled training three times as many, so that it is as good as these settings make it.

    Parameters
    ----------
    plan : DemoPlan
    settings : TrainingSettings
        Those of the peers.
    metric : str
        Which of the task's metrics to report.

    Raises
    ------
    TaskError, SettingError
        If the task is wrong.
    """
    tasks = [find_task(plan.task, plan.task_options(index)) for index in range(plan.peers)]
    own = [task.dataset() for task in tasks]
    task, test = tasks[0], own[0]
    if metric not in task.metrics:
        raise InvalidTask(f"the task has no metric {metric!r}", expected=", ".join(task.metrics))
    inputs = joined([data.train_inputs for data in own])
    targets = joined([data.train_targets for data in own])
    bounds = np.cumsum([0, *(data.samples for data in own)])
    parts = [np.arange(start, end) for start, end in itertools.pairwise(bounds)]

    def measure(data: NodeData, steps: int) -> list[float]:
        stretched = settings.model_copy(update={"decay_age": steps, "local_steps": 1})
        rows = _train(task, Trainer.of(task, data, stretched), steps)
        values = task.evaluate(rows, test.test_inputs, test.test_targets)[metric]
        return [float(value) for value in values]

    alone_steps = max(1, int(settings.decay_age * _ALONE_STEPS_PER_DECAY_AGE))
    pooled_steps = max(1, int(settings.decay_age * _POOLED_STEPS_PER_DECAY_AGE))
    alone = measure(NodeData.partitioned(inputs, targets, parts), alone_steps)
    (pooled,) = measure(NodeData.of_one_node(inputs, targets), pooled_steps)
    return Baselines(alone=tuple(alone), pooled=pooled, alone_steps=alone_steps, pooled_steps=pooled_steps)


def _train(task: Task, trainer: Trainer, steps: int) -> Tensor:
    owners = np.arange(len(trainer.data.counts))
    rows = torch.stack([task.initial_row(int(owner)) for owner in owners])
    nodes = Nodes.start(rows, optimiser_state_size=trainer.optimiser_state_size)
    for _ in range(steps):
        nodes, _losses = trainer.train(nodes, owners)
    return nodes.rows
