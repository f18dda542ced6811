"""Rows without what all models have alike and keep: frozen weights, stored once."""

from __future__ import annotations

from dataclasses import replace

from gossipfl.tasks import Task
from gossipfl.training.trainer import Trainer

__all__ = ["constants_apart", "without_constants"]


def constants_apart(task: Task, trainer: Trainer) -> tuple[Task, Trainer]:
    """Give a task and its training for rows that leave out what never changes.

    Its frozen parameters and buffers are the module's own from then on, as what it holds beside its row is.

    Parameters
    ----------
    task : Task
    trainer : Trainer
        Of the task, whose module has been tried.

    Returns
    -------
    task, trainer
        The same ones where all that rows hold may change, or starts differ.
    """
    return without_constants(task, trainer, trainer.gradients.constant)


def without_constants(task: Task, trainer: Trainer, names: frozenset[str]) -> tuple[Task, Trainer]:
    """Give a task and its training for rows that leave out tensors of these names.

    Modules that the task makes from then on have the trainer's own frozen parameters: there is one body.
    """
    if not names:
        return task, trainer
    lean = task.leaving_out(names, body=trainer.gradients.module)
    gradients = trainer.gradients.laid_out(lean.layout)
    return lean, replace(trainer, layout=lean.layout, gradients=gradients)
