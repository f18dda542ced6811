"""Tasks, data, optimisers and training that a program makes with wrong arguments: each is refused by name."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from gossipfl.errors import IncompatibleModel, InvalidPartition, InvalidTask, SettingError
from gossipfl.layout import SharePolicy
from gossipfl.tasks import Dataset, Task, padded
from gossipfl.training import SGD, AdamW, NodeData, Nodes, Trainer, TrainingSettings

INPUTS, TARGETS = torch.randn(8, 4, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 3


def data():
    return Dataset(train_inputs=INPUTS, train_targets=TARGETS, test_inputs=INPUTS, test_targets=TARGETS)


def task(**changes):
    return Task(**{"name": "a task", "model": lambda: nn.Linear(4, 3), "data": data, **changes})


def metric(outputs, targets):
    return (outputs.argmax(1) == targets).float().mean()


FIELDS = [
    ({"name": None}, "the task has no name; expected a string; got None"),
    ({"name": ""}, "the task has no name"),
    ({"model": None}, r"model of task 'a task' cannot be called; expected a function, model\(\)"),
    (
        {"data": data()},
        r"data of task 'a task' cannot be called; expected a function, data\(\) -> Dataset; got Dat",
    ),
    ({"loss": "mse"}, r"loss of task 'a task' cannot be called.*got 'mse'"),
    ({"loss": nn.CrossEntropyLoss}, r"loss of task 'a task' is a class.*Write CrossEntropyLoss\(\)"),
    ({"transform": "flip"}, r"transform of task 'a task' cannot be called.*got 'flip'"),
    ({"metrics": [metric]}, "metrics of task 'a task' have no names; expected a mapping of names"),
    ({"metrics": None}, "metrics of task 'a task' have no names.*got None"),
    ({"metrics": {"accuracy": "accuracy"}}, "metric 'accuracy' of task 'a task' cannot be called"),
    ({"metrics": {1: metric}}, "a metric of task 'a task' has no name; expected a string; got 1"),
    ({"metrics": {"loss": metric}}, "has a metric named 'loss'"),
    ({"seed": "a"}, "seed of task 'a task' is out of range.*got a"),
    ({"seed": 1.5}, "seed of task 'a task' is out of range"),
    ({"seed": True}, "seed of task 'a task' is out of range"),
    ({"share": ("bias",)}, r"shares otherwise; expected a SharePolicy; got \('bias',\)"),
    ({"start": "anywhere"}, "expected 'common' or 'independent'; got 'anywhere'"),
    ({"refresh_seconds": "1h"}, "positive, finite number of seconds; got 1h"),
    ({"refresh_seconds": 0}, "positive, finite number of seconds; got 0"),
]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"model": 1}, r"the task has no name and no data; expected Task\(name=.*; got model"),
        (
            {"name": "a", "modell": nn.Identity, "data": data},
            r"no 'modell'; expected name, model.*Did you mean 'model'\?",
        ),
    ],
)
def test_fields_that_are_missing_or_unknown_are_named(given, said):
    with pytest.raises(InvalidTask, match=said):
        Task(**given)


def test_a_copy_of_a_task_is_equal():
    mine = task()
    assert copy.copy(mine) == mine


@pytest.mark.parametrize(("changes", "said"), FIELDS)
def test_a_field_of_another_kind_is_named_when_the_task_is_made(changes, said):
    with pytest.raises(InvalidTask, match=said):
        task(**changes)


def test_numbers_of_numpy_are_numbers():
    assert task(seed=np.int64(3), refresh_seconds=np.float32(0.5)).fingerprint == task(seed=3).fingerprint


@pytest.mark.parametrize("names", ["bias", ["bias"], (1,)])
def test_names_of_a_share_policy_are_a_tuple_of_strings(names):
    with pytest.raises(InvalidTask, match="takes a tuple of names"):
        SharePolicy(local=names)


@pytest.mark.parametrize("samples", [None, iter([1]), {1, 2}])
def test_stored_samples_are_read_by_number(samples):
    with pytest.raises(InvalidTask, match="cannot be read by number; expected a map-style data set"):
        Dataset.stored(samples, samples)


class Broken(list):
    def __getitem__(self, place):
        raise OSError("the disk is gone")


def test_a_stored_sample_that_cannot_be_read_is_named():
    stored = Dataset.stored(Broken([1, 2]), [(torch.zeros(3), 1)])
    with pytest.raises(
        InvalidTask, match="sample 1 of a stored data set could not be read; got OSError: the disk"
    ):
        stored.train_inputs[torch.tensor([1])]


@pytest.mark.parametrize("sequences", [[], [[1], ["a"]], [torch.zeros(3, 2), torch.zeros(3, 3)]])
def test_what_cannot_be_padded_is_named(sequences):
    with pytest.raises(InvalidTask, match="sequences cannot be padded"):
        padded(sequences)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: SGD(momentum=1.0), r"momentum is out of range; expected a number in \[0, 1\); got 1.0"),
        (lambda: SGD(momentum="much"), "momentum is out of range"),
        (lambda: SGD(nesterov=True), "nesterov needs a momentum"),
        (lambda: AdamW(beta1=1.0), "beta1 is out of range"),
        (lambda: AdamW(beta2=-0.1), "beta2 is out of range"),
        (lambda: AdamW(epsilon=float("nan")), "epsilon is out of range"),
        (lambda: AdamW(weight_decay=-1), "weight_decay is out of range"),
    ],
)
def test_an_optimiser_out_of_range_is_named(make, said):
    with pytest.raises(SettingError, match=said):
        make()


def test_positions_that_are_no_whole_numbers_are_named():
    with pytest.raises(InvalidPartition, match=r"expected whole numbers.*got float64"):
        NodeData.partitioned(INPUTS, TARGETS, [np.array([0.5, 1])])
    assert NodeData.partitioned(INPUTS, TARGETS, [[0, 1], [2]]).counts.tolist() == [2, 1]


def test_training_that_cannot_be_is_named():
    made = task()
    whole = NodeData.of_one_node(INPUTS, TARGETS)
    with pytest.raises(SettingError, match=r"expected gossipfl.TrainingSettings; got dict"):
        Trainer.of(made, whole, {"learning_rate": 1})
    trainer = Trainer.of(made, whole, TrainingSettings())
    nodes = Nodes.start(made.initial_row()[None])
    for method in (trainer.train, trainer.gradient):
        for owners in (np.array([1]), np.array([-1]), np.array([0, 0])):
            with pytest.raises(
                InvalidPartition, match=r"expected 1 whole numbers, each within 0 … 0; got shape"
            ):
                method(nodes, owners)
        with pytest.raises(
            IncompatibleModel, match=r"another precision.*expected torch.float32; got torch.float64"
        ):
            method(Nodes.start(nodes.rows.double()), np.zeros(1, dtype=np.int64))
    with pytest.raises(SettingError, match="expected at least 1; got 0"):
        trainer.train(nodes, np.zeros(1, dtype=np.int64), steps=0)
