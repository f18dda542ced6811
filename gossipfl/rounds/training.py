"""Local training as round-based algorithms ask for it, on the samples of a trainer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.privacy.ledger import BudgetSpent
from gossipfl.settings import TrainingSettings
from gossipfl.training import Nodes, Trainer

__all__ = ["TrainerOfRounds"]


class TrainerOfRounds:
    """`LocalTraining` on a trainer's samples: of one peer, or of many that are replayed together.

    Parameters
    ----------
    trainer : Trainer
    owners : ndarray
        Shape ``[B]``, int64: the owner of the samples that each node trains on.
    rests : bool, optional
        Whether nothing is trained: gradients are zero, and nodes see no batch. Invariants of algorithms such as
        the sum of tracked gradients hold all the same. So it is once a privacy budget of training is spent.
    """

    def __init__(self, trainer: Trainer, owners: NDArray[np.int64], *, rests: bool = False) -> None:
        self.trainer = trainer
        self.rests = rests
        self._owners = owners
        self.losses = torch.full((len(owners),), float("nan"))
        """Mean loss of each node's batches in its last training, shape ``[B]``."""

    @property
    def settings(self) -> TrainingSettings:
        """Settings of the training."""
        return self.trainer.settings

    @property
    def samples(self) -> Tensor:
        """How many samples each of the B nodes has, int64 ``[B]``."""
        return torch.from_numpy(self.trainer.data.counts[self._owners])

    def update(self, nodes: Nodes, steps: Tensor | None = None) -> Nodes:
        """Do steps of stochastic gradient descent; nodes with equally many steps go together."""
        if self.rests:
            return nodes
        try:
            return self._updated(nodes, steps)
        except BudgetSpent:
            self.rests = True
            return nodes

    def _updated(self, nodes: Nodes, steps: Tensor | None) -> Nodes:
        if steps is None:
            return self._trained(nodes, np.arange(len(nodes)), None)
        counts = steps.numpy()
        for count in np.unique(counts[counts > 0]):
            where = np.flatnonzero(counts == count)
            if len(where) == len(counts):
                return self._trained(nodes, where, int(count))
            index = torch.from_numpy(where)
            trained = self._trained(nodes.select(index), where, int(count))
            changed = {
                name: getattr(nodes, name).index_copy(0, index, getattr(trained, name))
                for name in ("rows", "ages", "steps", "optimiser_state")
            }
            nodes = replace(nodes, **changed)
        return nodes

    def gradient(self, nodes: Nodes) -> tuple[Nodes, Tensor]:
        """Evaluate the gradient of the next batch, and leave the parameters alone."""
        if not self.rests:
            try:
                return self.trainer.gradient(nodes, self._owners)
            except BudgetSpent:
                self.rests = True
        return nodes, nodes.rows.new_zeros(len(nodes), self.trainer.layout.trainable_size)

    def losses_of(self, nodes: Nodes, rows: Tensor, whose: Tensor) -> Tensor:
        """Evaluate rows ``[M, D]`` on the next batches of the nodes ``whose``, ``[M]``."""
        return self.trainer.losses(replace(nodes.select(whose), rows=rows), self._owners[whose.numpy()])

    def learning_rates(self, nodes: Nodes) -> Tensor:
        """Step sizes at the nodes' ages, shape ``[B, 1]``."""
        return self.trainer.learning_rates(nodes)

    def _trained(self, nodes: Nodes, where: NDArray[np.int64], steps: int | None) -> Nodes:
        trained, losses = self.trainer.train(nodes, self._owners[where], steps=steps)
        self.losses[torch.from_numpy(where)] = losses.to(self.losses.dtype)
        return trained
