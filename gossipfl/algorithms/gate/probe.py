"""Losses of models on a few of a node's own samples."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from gossipfl.tasks import Task
from gossipfl.training import NodeData

__all__ = ["LossProbe"]


class LossProbe:
    """Losses of models on a few of a node's own samples.

    Parameters
    ----------
    task : Task
    data : NodeData
    initial : Tensor
        Row before any training, ``[D]``.
    samples : int
        Number of samples, or all if there are fewer.
    node : int
        Whose samples they are; a peer's data are those of node 0.
    """

    def __init__(self, task: Task, data: NodeData, initial: Tensor, *, samples: int, node: int = 0) -> None:
        count = int(data.counts[node])
        positions = np.linspace(0, count - 1, num=min(samples, count)).astype(np.int64)
        inputs, targets = data.gather(np.array([node]), positions[None])
        self._task = task
        self._inputs, self._targets = inputs[0], targets[0]
        self.initial = self.loss(initial[None])

    def loss(self, rows: Tensor) -> float:
        """Return the mean loss of one model, ``[1, D]``; infinity if it is not finite."""
        loss = float(self._task.evaluate(rows, self._inputs, self._targets)["loss"][0])
        return loss if math.isfinite(loss) else math.inf
