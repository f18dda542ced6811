"""Samples of nodes that each have their own, to train and to be measured on, as real peers do."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from gossipfl.tasks import Dataset, Task, find_task
from gossipfl.tasks.samples import Tree, joined, signature, take
from gossipfl.training import NodeData
from sims.errors import InvalidScenario
from sims.scenario import Scenario

__all__ = ["own_samples", "side_by_side", "tests_of_owners"]


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


def tests_of_owners(scenario: Scenario, seen: list[Dataset]) -> list[tuple[Tree, Tree]]:
    """Test samples of every node, where each has what its owner has.

    Parameters
    ----------
    scenario : Scenario
    seen : list of Dataset
        The data that nodes see: one, of which the test samples have owners.

    Raises
    ------
    InvalidScenario
        If nodes are not owners, or one has no test samples.
    """
    nodes, owners = scenario.population.nodes, seen[0].test_owners
    if scenario.task.partition != "natural" or owners is None or len(seen) > 1:
        raise InvalidScenario(
            "evaluate.own: nothing says whose sample each test sample is",
            expected='partition = "natural", and a task whose Dataset has test_owners',
            got=f"partition {scenario.task.partition!r}, {'no test_owners' if owners is None else 'test_owners'}",
            remedy="With [[task.nodes]] every node is measured on its own samples as it is.",
        )
    counts = np.bincount(owners.numpy(), minlength=nodes)
    if len(counts) > nodes or not counts.all():
        raise InvalidScenario(
            "evaluate.own: every owner needs test samples",
            expected=f"owners 0 to {nodes - 1}, one a node",
            got=f"{len(counts)} owners, {int((counts == 0).sum())} of them without any",
        )
    parts = np.split(np.argsort(owners.numpy(), kind="stable"), counts.cumsum()[:-1])
    return [(take(seen[0].test_inputs, part), take(seen[0].test_targets, part)) for part in parts]
