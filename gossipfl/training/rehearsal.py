"""A step of training and an evaluation, tried before a peer or a run begins."""

from __future__ import annotations

import numpy as np
import torch

from gossipfl.global_generator import global_generator
from gossipfl.tasks import Task
from gossipfl.tasks.samples import Tree
from gossipfl.training.nodes import Nodes
from gossipfl.training.trainer import Trainer

__all__ = ["rehearse"]


def rehearse(
    task: Task, trainer: Trainer, test_inputs: Tree, test_targets: Tree, *, dtype: torch.dtype = torch.float32
) -> None:
    """Train the initial model for one step on the first node's samples, and evaluate it; nothing is kept.

    Parameters
    ----------
    task : Task
    trainer : Trainer
        Of the task, on its training samples.
    test_inputs, test_targets : Tree
        What models will be evaluated on, ``[S, ...]``.
    dtype : torch.dtype
        Of rows.

    Raises
    ------
    InvalidTask
        If either fails: what would else be found out while many peers are at work.
    """
    row = task.initial_row()[None].to(dtype)
    with global_generator(), torch.no_grad():
        trainer.train(
            Nodes.start(row, optimiser_state_size=trainer.optimiser_state_size),
            np.zeros(1, dtype=np.int64),
            steps=1,
        )
        task.objective.require_classes(test_targets)
        task.evaluate(row, test_inputs, test_targets)
