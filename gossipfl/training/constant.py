"""Rows without what all models have alike and keep: frozen weights, stored once."""

from __future__ import annotations

from dataclasses import replace

from gossipfl.tasks import Task
from gossipfl.training.trainer import Trainer

__all__ = ["constants_apart"]


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
    constant = trainer.gradients.constant
    if not constant:
        return task, trainer
    lean = replace(task, constant=task.constant | constant)
    gradients = trainer.gradients.laid_out(lean.layout)
    return lean, replace(trainer, layout=lean.layout, gradients=gradients)
