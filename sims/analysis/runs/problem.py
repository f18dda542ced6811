"""The learning problem of a run, rebuilt: its task, the nodes' samples, and the evaluation samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.peer import Home
from gossipfl.peer.store.checkpoint import left_out_of
from gossipfl.tasks import Task, find_task
from gossipfl.tasks.samples import Tree, joined, real_dtype
from gossipfl.training import NodeData, Trainer, TrainingSettings
from sims.analysis.runs.run import Run
from sims.errors import InvalidScenario
from sims.replay.errors import KeyboardSealed
from sims.world import World, build_world

__all__ = ["Problem", "problem_of"]

_ROWS_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The learning problem of a run.

    Parameters
    ----------
    task : Task
    data : NodeData
        All samples, and the node that each belongs to.
    test_inputs, test_targets : Tree
        The samples models are evaluated on, ``[S, ...]``.
    training : TrainingSettings
    own_tests : tuple of (Tree, Tree)
        The test samples of each node, in turn; one where all are evaluated on the same.
    world : World, optional
        Settings of the simulation's training.
    """

    task: Task
    data: NodeData
    test_inputs: Tree
    test_targets: Tree
    training: TrainingSettings
    own_tests: tuple[tuple[Tree, Tree], ...] = ()
    world: World | None = None

    @property
    def dtype(self) -> torch.dtype:
        """Of rows: that of inputs that are numbers."""
        return real_dtype(self.data.inputs)

    def class_counts(self) -> NDArray[np.int64]:
        """Number of samples of each class at each node, int64 ``[N, classes]``.

        Raises
        ------
        InvalidScenario
            If the task's targets are not classes.
        """
        if self.world is None:
            raise InvalidScenario("real peers build no topology from the classes of their samples")
        return self.world.class_counts()

    @property
    def owners(self) -> int:
        """Number of nodes that own samples."""
        return len(self.data.counts)

    def trainer(self) -> Trainer:
        """Training on the nodes' own samples."""
        return Trainer.of(self.task, self.data, self.training, dtype=self.dtype)

    def evaluate(self, rows: Tensor) -> dict[str, NDArray[np.float64]]:
        """Loss and metrics of each row on the test samples: float64 ``[k]`` each.

        Parameters
        ----------
        rows : Tensor
            Shape ``[k, D]``.
        """
        parts = [
            self.task.evaluate(part, self.test_inputs, self.test_targets)
            for part in torch.split(rows.to(self.dtype), _ROWS_AT_ONCE)
        ]
        return {
            name: torch.cat([part[name].double().reshape(-1) for part in parts]).numpy() for name in parts[0]
        }


def problem_of(run: Run) -> Problem:
    """Make the task of a run again, and read its samples.

    Raises
    ------
    UnknownTask, InvalidTask
        If the task cannot be found or made here.
    KeyboardSealed
        If the samples are what somebody typed.
    """
    if run.source == "simulator" and run.scenario is not None:
        world = build_world(run.scenario)
        return Problem(
            task=world.task,
            data=world.trainer.data,
            test_inputs=world.test_inputs,
            test_targets=world.test_targets,
            training=run.training,
            own_tests=world.own_tests,
            world=world,
        )
    return _of_peers(run)


def _of_peers(run: Run) -> Problem:
    """Everybody's samples side by side; evaluated on the first peer's test samples, as in the demo."""
    if run.keyboard:
        raise KeyboardSealed.of(run.keyboard)
    saved = [path for path in (Home(home).checkpoint for home in run.homes) if path.exists()]
    left_out = frozenset.intersection(*map(left_out_of, saved)) if saved else frozenset[str]()
    tasks = [find_task(run.task, dict(options)).leaving_out(left_out) for options in run.task_options]
    own = [task.dataset() for task in tasks]
    bounds = np.cumsum([0, *(data.samples for data in own)])
    return Problem(
        task=tasks[0],
        data=NodeData.partitioned(
            joined([data.train_inputs for data in own]),
            joined([data.train_targets for data in own]),
            [np.arange(bounds[i], bounds[i + 1]) for i in range(len(own))],
            numbers=np.array(run.numbers, dtype=np.int64) if run.numbers else None,
        ),
        test_inputs=own[0].test_inputs,
        test_targets=own[0].test_targets,
        training=run.training,
        own_tests=tuple((data.test_inputs, data.test_targets) for data in own),
    )
