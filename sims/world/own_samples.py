"""Samples of nodes that each have their own, to train and to be measured on, as real peers do."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from gossipfl.tasks import Dataset, Task, find_task
from gossipfl.tasks.samples import joined, signature
from gossipfl.training import NodeData
from sims.errors import InvalidScenario
from sims.scenario import Scenario

__all__ = ["own_samples", "side_by_side"]


def own_samples(scenario: Scenario) -> tuple[Task, list[Dataset]]:
    """Read the samples of every node that the scenario has a table for.

    Returns
    -------
    task : Task
        The first node's; those of others differ in their data only.
    datasets : list of Dataset
        One for each node.

    Raises
    ------
    UnknownTask, InvalidTask
        If the task is unknown or broken.
    InvalidScenario
        If the nodes' tasks are not one task on different data.
    """
    section = scenario.task
    tasks = [
        find_task(
            section.name,
            {**section.options, **node.options},
            metrics=section.metrics,
            directory=scenario.modules,
        )
        for node in section.nodes
    ]
    for node, task in zip(section.nodes, tasks, strict=True):
        if task.fingerprint != tasks[0].fingerprint:
            raise InvalidScenario(
                f"task.nodes: the task of {node.name!r} is another than that of {section.nodes[0].name!r}",
                expected="options that change the data, and not the model, the loss or common statistics",
                got=node.options,
            )
    data = [task.dataset() for task in tasks]
    for node, each in zip(section.nodes, data, strict=True):
        if signature(each.train_inputs) != signature(data[0].train_inputs):
            raise InvalidScenario(
                f"task.nodes: the samples of {node.name!r} have another form than the first node's"
            )
    return tasks[0], data


def side_by_side(data: list[Dataset]) -> NodeData:
    """Training samples of nodes that have one data set each."""
    ends = np.cumsum([0, *(each.samples for each in data)])
    return NodeData.partitioned(
        joined([each.train_inputs for each in data]),
        joined([each.train_targets for each in data]),
        [np.arange(start, end) for start, end in pairwise(ends.tolist())],
    )
