"""The model that a peer uses: the newest one, fine-tuned on its own samples where its settings say so."""

from __future__ import annotations

import threading
from functools import cached_property

import numpy as np
from torch import Tensor

from gossipfl.settings import PersonalSettings, TrainingSettings
from gossipfl.tasks import Dataset, Task
from gossipfl.training import NodeData, Trainer, fine_tuned, places_of_head

__all__ = ["FineTuning"]


class FineTuning:
    """Fine-tuning of a peer's models for its own use.

    A function of a row, the peer's data and its settings, so that a running peer and its home
    have the same model. The outcome is kept nowhere, and what the peer shares does not depend on it.

    Parameters
    ----------
    task : Task
    data : Dataset
        Whose training samples are the peer's own.
    training : TrainingSettings
        No noise is added: the outcome does not leave the peer.
    personal : PersonalSettings

    Raises
    ------
    SettingError
        If no parameter has the name of the head.
    """

    def __init__(
        self, task: Task, data: Dataset, training: TrainingSettings, personal: PersonalSettings
    ) -> None:
        self._task, self._data = task, data
        self._training, self._personal = training, personal
        self._turn = threading.Lock()  # a trainer has one module
        if personal.head:
            places_of_head(task.layout, personal.head)

    @property
    def is_on(self) -> bool:
        """Whether rows are changed at all."""
        return self._personal.fine_tune > 0

    def renewed(self, data: Dataset) -> FineTuning:
        """The same with other data."""
        return FineTuning(self._task, data, self._training, self._personal)

    def __call__(self, rows: Tensor, age: int) -> Tensor:
        """Return what a row ``[1, D]`` of this age becomes; the row itself where there is no fine-tuning."""
        if not self.is_on:
            return rows
        steps, head = self._personal.fine_tune, self._personal.head
        with self._turn:
            ages, owner = np.array([age]), np.zeros(1, dtype=np.int64)
            return fine_tuned(self._trainer, rows, ages, owner, steps=steps, head=head)

    @cached_property
    def _trainer(self) -> Trainer:
        own = NodeData.of_one_node(self._data.train_inputs, self._data.train_targets)
        return Trainer.of(self._task, own, self._training.model_copy(update={"privacy": None}))
