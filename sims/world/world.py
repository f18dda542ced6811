"""The world of a simulation: the task, the nodes' samples, training, and the first rows."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gossipfl.algorithms import MessageAlgorithm
from gossipfl.algorithms.author_calls import start_nodes
from gossipfl.attacks import Poisoned
from gossipfl.layout import Layout
from gossipfl.outgoing import IN_FULL, Pipeline
from gossipfl.tasks import Dataset, Task, find_task
from gossipfl.tasks.clusters import cluster_of
from gossipfl.tasks.samples import Tree, class_labels, describe, joined, map_leaves, take
from gossipfl.tasks.stored import StoredSamples
from gossipfl.training import NodeData, Nodes, Trainer, constants_apart, rehearse
from sims.errors import InvalidScenario
from sims.scenario import Scenario
from sims.scenario.outgoing import outgoing_of_messages
from sims.world.hostile import hostile_nodes, with_false_data
from sims.world.own_samples import own_samples, side_by_side, tests_of_owners
from sims.world.planted import with_planted
from sims.world.samples import divided, held_out, seen_by_clusters
from sims.world.trace_cache import Traces

__all__ = ["World", "build_world"]

_FEW = 3  # samples
_DTYPES = {"float32": torch.float32, "float64": torch.float64}
_OF_STEPS = (
    "learning_rate",
    "schedule",
    "clock",
    "decay_age",
    "decay_share",
    "warm_up",
    "final_fraction",
    "local_steps",
)


@dataclass(frozen=True, kw_only=True)
class World:
    """All that learns in a simulation, shared by the engine and the reference executor.

    Parameters
    ----------
    scenario : Scenario
    task : Task
        In the scenario's precision.
    trainer : Trainer
        Knows every node's own samples; all samples are held in memory once.
    test_inputs, test_targets : Tree
        The samples that models are evaluated on: held-out training samples with ``evaluate.validation``. With
        clusters of nodes, those of all clusters; with ``task.nodes``, those of all nodes.
    own_tests : tuple of (Tree, Tree)
        The same as each cluster of nodes sees them, or of each node: what nodes are evaluated on, in turn
        (`own_test`). One where all are evaluated on the same.
    traces : Traces
        Traced programmes, those of earlier runs included.
    hostile : ndarray, optional
        Which nodes are hostile, bool ``[N]``; None without an attack.
    counts : ndarray, optional
        Samples of each node of all, int64 ``[N]``, where the trainer has those of a part of them.
    example : tuple of Tree, optional
        Then a few samples of all.
    """

    scenario: Scenario
    task: Task
    trainer: Trainer
    test_inputs: Tree
    test_targets: Tree
    own_tests: tuple[tuple[Tree, Tree], ...] = ()
    traces: Traces = field(default_factory=Traces)
    hostile: NDArray[np.bool_] | None = None
    counts: NDArray[np.int64] | None = None
    example: tuple[Tree, Tree] | None = None

    @property
    def sample_counts(self) -> NDArray[np.int64]:
        """Samples of each node of all, int64 ``[N]``."""
        return self.trainer.data.counts if self.counts is None else self.counts

    @property
    def samples(self) -> tuple[Tree, Tree]:
        """Inputs and targets of a few samples from all over the pool, ``[k, ...]``."""
        if self.example is not None:
            return self.example
        data = self.trainer.data
        last = len(data.indices) - 1
        return data.at(data.indices[np.linspace(0, last, min(_FEW, last + 1)).astype(np.int64)])

    def of_part(self, data: NodeData) -> World:
        """The same with the samples of some nodes alone; how many all have, and a few of these, stay known."""
        trainer = replace(self.trainer, data=data)
        return replace(self, trainer=trainer, counts=self.sample_counts, example=self.samples)

    @property
    def honest(self) -> NDArray[np.bool_]:
        """Which nodes are honest, bool ``[N]``: measures are over these."""
        nodes = self.scenario.population.nodes
        return np.ones(nodes, dtype=np.bool_) if self.hostile is None else ~self.hostile

    def own_test(self, nodes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which of ``own_tests`` each of these nodes is evaluated on."""
        return cluster_of(nodes, len(self.own_tests))

    @property
    def recipe(self) -> str:
        """Dependencies of training and evaluation besides rows and samples: task, precision and settings."""
        return self._recipe({"seed"})

    @property
    def gradient_recipe(self) -> str:
        """The same of gradients, which know nothing of the steps that follow them."""
        return self._recipe({"seed", *_OF_STEPS})

    def _recipe(self, without: set[str]) -> str:
        scenario = self.scenario
        training = scenario.training.model_dump(mode="json", exclude=without)
        task = (scenario.task.name, scenario.task.options, *scenario.task.metrics)
        counted = self.task.objective.may_count_nothing(self.trainer.data.targets)
        return json.dumps([counted, task, scenario.precision, training], sort_keys=True, default=repr)

    @property
    def layout(self) -> Layout:
        """The layout of a model in a row."""
        return self.task.layout

    @property
    def dtype(self) -> torch.dtype:
        """Of rows: that of the scenario's precision."""
        return _DTYPES[self.scenario.precision]

    @property
    def message_algorithm(self) -> MessageAlgorithm:
        """The nodes' treatment of their own models and those they receive.

        Raises
        ------
        InvalidScenario
            If the scenario's algorithm runs in rounds.
        """
        section = self.scenario.algorithm
        algorithm = section.build()
        if not isinstance(algorithm, MessageAlgorithm):
            raise InvalidScenario("clocks and messages are for message-driven algorithms", got=section.name)
        return algorithm

    @property
    def message_outgoing(self) -> Pipeline:
        """The pipeline applied to the rows of outgoing messages.

        Raises
        ------
        InvalidScenario
            If the messages of the algorithm cannot go through it.
        """
        return outgoing_of_messages(self.scenario, self.message_algorithm.behaviour)

    @property
    def message_bytes(self) -> int:
        """Bytes of one message: the part of a row that is sent, and further rows."""
        behaviour, outgoing = self.message_algorithm.behaviour, self.message_outgoing
        message = self.message_algorithm.emit(self.first_nodes(), shared_size=self.layout.shared_size)

        def encoded(row: Tensor) -> int:
            return outgoing.payload_bytes(len(row)) if row.dim() else IN_FULL.payload_bytes(1)

        further = sum(encoded(rows[0]) for rows in message.carried.values())
        return behaviour.sharing.share_of(encoded(message.shared[0])) + further

    def class_counts(self) -> NDArray[np.int64]:
        """How many samples of each class each node has, ``[N, classes]``.

        Raises
        ------
        InvalidScenario
            If the task's targets are not classes.
        """
        data = self.trainer.data
        classes = class_labels(data.targets)
        if classes is None:
            raise InvalidScenario(
                f"topology {self.scenario.topology.name!r} groups nodes by their classes, and the targets of task "
                f"{self.task.name!r} are not classes",
                expected="integers, one a sample",
                got=f"targets {describe(data.targets)}",
            )
        labels = classes[data.indices]
        owners = np.repeat(np.arange(len(data.counts)), data.counts)
        counts = np.zeros((len(data.counts), int(classes.max()) + 1), dtype=np.int64)
        np.add.at(counts, (owners, labels), 1)
        return counts

    def first_rows(self) -> Tensor:
        """Rows before any training, shape ``[N, D]``, or ``[1, D]`` if all start from the same row."""
        if self.task.start == "common":
            return self.task.initial_row()[None].to(self.dtype)
        rows = [self.task.initial_row(number) for number in self.trainer.data.numbers.tolist()]
        return torch.stack(rows).to(self.dtype)

    def first_nodes(self) -> Nodes:
        """Initial nodes of a message-driven algorithm: all N, or one if all start from the same row.

        Raises
        ------
        SettingError
            If they lack something that the algorithm carries.
        """
        algorithm = self.message_algorithm
        first = start_nodes(
            algorithm,
            Nodes.start(
                self.first_rows(),
                optimiser_state_size=self.trainer.optimiser_state_size,
                parts=algorithm.behaviour.sharing.ages,
            ),
        )
        algorithm.emit(first, shared_size=self.layout.shared_size)  # raises if something is missing
        return first


def build_world(scenario: Scenario, *, traces: Traces | None = None, data: Dataset | None = None) -> World:
    """Load a scenario's task, divide its samples, and prepare training.

    Parameters
    ----------
    scenario : Scenario
    traces : Traces, optional
        Traced programmes of earlier runs.
    data : Dataset, optional
        What the task would read, if that has been read already; not with ``task.nodes``.

    Raises
    ------
    UnknownTask, InvalidTask
        If the task is unknown or broken.
    InvalidScenario, InvalidPartition
        If its samples cannot be divided as asked.
    """
    task, samples, seen = _samples(scenario, data)
    dtype = _DTYPES[scenario.precision]
    samples = with_planted(samples, scenario)
    task, trainer = constants_apart(task, Trainer.of(task, samples, scenario.training, dtype=dtype))
    measured = slice(scenario.evaluate.samples)
    tests = (
        tests_of_owners(scenario, seen)
        if scenario.evaluate.own
        else [(one.test_inputs, one.test_targets) for one in seen]
    )
    own_tests = tuple((take(inputs, measured), take(targets, measured)) for inputs, targets in tests)
    test_inputs, test_targets = own_tests[0] if len(own_tests) == 1 else joined(own_tests)
    world = World(
        scenario=scenario,
        task=task,
        trainer=trainer,
        test_inputs=test_inputs,
        test_targets=test_targets,
        own_tests=own_tests,
        traces=Traces() if traces is None else traces,
    )
    if scenario.attack is not None:
        world = _attacked(world)
    rehearse(task, world.trainer, world.test_inputs, world.test_targets, dtype=world.dtype)
    return world


def _samples(scenario: Scenario, given: Dataset | None) -> tuple[Task, NodeData, list[Dataset]]:
    """The task, the training samples of all nodes, and the data sets whose test samples they are measured on."""
    if scenario.task.nodes:
        task, seen = own_samples(scenario)
        task, seen = _in_precision(scenario, task, seen)
        return task, side_by_side(seen), seen
    task = find_task(
        scenario.task.name, scenario.task.options, metrics=scenario.task.metrics, directory=scenario.modules
    )
    task, (dataset,) = _in_precision(scenario, task, [task.dataset() if given is None else given])
    kept = None
    if scenario.evaluate.validation is not None:
        dataset, kept = held_out(dataset, scenario.evaluate.validation, seed=scenario.seed)
    seen = seen_by_clusters(scenario, dataset)
    return task, divided(scenario, seen, kept=kept), seen


def _in_precision(scenario: Scenario, task: Task, data: list[Dataset]) -> tuple[Task, list[Dataset]]:
    if scenario.precision == "float32":
        return task, data
    return replace(task, model=partial(_in_double, task)), [_doubled(dataset) for dataset in data]


def _attacked(world: World) -> World:
    """The same world with hostile nodes, and false data where the attack is in the data."""
    section = world.scenario.attack
    assert section is not None  # noqa: S101  (the caller asked)
    hostile, attack = hostile_nodes(world.scenario, class_counts=world.class_counts), section.build()
    trainer = world.trainer
    if isinstance(attack, Poisoned) and hostile.any():
        trainer = replace(trainer, data=with_false_data(trainer.data, hostile, attack))
    return replace(world, hostile=hostile, trainer=trainer)


def _in_double(task: Task) -> nn.Module:
    return task.model().double()  # seeded by whoever calls: independent starts differ


def _doubled(dataset: Dataset) -> Dataset:
    def double(leaf: Any) -> Any:  # noqa: ANN401 - a tensor, or samples on disk
        if isinstance(leaf, StoredSamples):
            return replace(leaf, then=double)
        return leaf.double() if leaf.is_floating_point() else leaf

    samples = [field.name for field in fields(Dataset) if "owners" not in field.name]
    return replace(dataset, **{name: map_leaves(double, getattr(dataset, name)) for name in samples})
