"""Losses of models on a few samples of the nodes that try them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.tasks import Task
from gossipfl.tasks.samples import placed, take
from gossipfl.training import NodeData

__all__ = ["LossProbe", "LossProbes"]

Ints = NDArray[np.int64]


class LossProbes:
    """Losses of models on a few samples of the nodes that they are tried by.

    Parameters
    ----------
    task : Task
    data : NodeData
    initial : Tensor
        Rows before any training, ``[N, D]``, or ``[1, D]`` if all nodes start from the same.
    samples : int
        Number of samples of each node, or all if it has fewer.
    """

    def __init__(self, task: Task, data: NodeData, initial: Tensor, *, samples: int) -> None:
        self._task, self._data, self._first, self.samples = task, data, initial, samples
        self._initial: dict[int, float] = {}

    def losses(self, nodes: Ints, rows: Tensor) -> list[float]:
        """Return the mean loss of each model; infinity where it is not finite.

        Parameters
        ----------
        nodes : ndarray
            By which nodes they are tried, int64 ``[B]``.
        rows : Tensor
            Models, ``[B, D]``.
        """
        counts = np.minimum(self._data.counts[nodes], self.samples)
        found = np.empty(len(nodes))
        for count in np.unique(counts):
            members = np.flatnonzero(counts == count)
            positions = [_spread(int(self._data.counts[node]), int(count)) for node in nodes[members]]
            inputs, targets = placed(self._data.gather(nodes[members], np.stack(positions)), rows.device)
            chosen = rows if len(members) == len(nodes) else rows[members.tolist()]
            found[members] = self._task.evaluate_each(chosen, inputs, targets)["loss"].double().cpu().numpy()
        finite: list[float] = np.where(np.isfinite(found), found, math.inf).tolist()
        return finite

    def initial(self, nodes: Ints) -> list[float]:
        """Return the loss of each node's model before any training."""
        new = np.array([node for node in nodes.tolist() if node not in self._initial], dtype=np.int64)
        if len(new):
            first = self._first.expand(len(new), -1) if len(self._first) == 1 else self._first[new.tolist()]
            self._initial.update(zip(new.tolist(), self.losses(new, first), strict=True))
        return [self._initial[node] for node in nodes.tolist()]


class LossProbe:
    """Losses of models on a few samples of one node, read once: a peer's own.

    Parameters
    ----------
    task : Task
    data : NodeData
        Of node 0.
    initial : Tensor
        Row before any training, ``[D]``.
    samples : int
        Number of samples, or all if there are fewer.
    """

    def __init__(self, task: Task, data: NodeData, initial: Tensor, *, samples: int) -> None:
        count = int(data.counts[0])
        positions = _spread(count, min(samples, count))
        inputs, targets = data.gather(np.zeros(1, dtype=np.int64), positions[None])
        self._task = task
        self._inputs, self._targets = take(inputs, 0), take(targets, 0)
        self.initial = self.loss(initial[None])

    def loss(self, rows: Tensor) -> float:
        """Return the mean loss of one model, ``[1, D]``; infinity if it is not finite."""
        loss = float(self._task.evaluate(rows, self._inputs, self._targets)["loss"][0])
        return loss if math.isfinite(loss) else math.inf


def _spread(count: int, wanted: int) -> Ints:
    """Positions spread evenly over so many samples."""
    return np.linspace(0, count - 1, num=wanted).astype(np.int64)
