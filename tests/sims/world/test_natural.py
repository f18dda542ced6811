"""Natural partitions: each owner of samples is a node."""

import numpy as np
import pytest
import torch

from gossipfl.errors import InvalidTask
from gossipfl.tasks import Dataset, Task
from sims.errors import InvalidScenario
from sims.scenario import parse_scenario
from sims.world import build_world
from tests.sims.worlds import SMALL

OWNERS = torch.tensor([2, 0, 1, 1, 0, 2, 2, 2])


def owned(*, owners=True, tests=(2, 0, 1)):
    def data():
        return Dataset(
            train_inputs=torch.arange(8.0)[:, None],
            train_targets=torch.arange(8) % 3,
            test_inputs=torch.zeros(3, 1),
            test_targets=torch.arange(3),
            owners=OWNERS if owners else None,
            test_owners=torch.tensor(tests) if tests else None,
        )

    return Task(name="owned", model=lambda: torch.nn.Linear(1, 3), data=data)


def scenario(nodes=3, *, owners="true", tests="[2, 0, 1]", more=""):
    task = f'"{__name__}:owned"\npartition = "natural"\noptions = {{ owners = {owners}, tests = {tests} }}'
    text = SMALL.replace('"tests.sims.worlds:blobs"', task).replace("nodes = 24", f"nodes = {nodes}")
    return parse_scenario(text.replace("batch_size = 4", "batch_size = 1") + more)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_each_owner_is_a_node(precision):
    text = scenario().model_copy(update={"precision": precision})
    data = build_world(text).trainer.data
    parts = np.split(data.indices, data.offsets[1:-1])
    assert [part.tolist() for part in parts] == [[1, 4], [2, 3], [0, 5, 6, 7]]


def test_owners_stay_with_their_samples_where_some_are_held_out():
    data = build_world(scenario(more="[evaluate]\nvalidation = 0.25\n")).trainer.data
    for node in range(3):
        inputs = data.inputs[data.indices[data.offsets[node] : data.offsets[node + 1]], 0]
        assert (OWNERS[inputs.long()] == node).all()
    assert len(data.indices) == 6


def test_what_is_not_natural_is_named():
    with pytest.raises(InvalidScenario, match="each owner of samples is a node; expected 3 nodes; got 4"):
        build_world(scenario(nodes=4))
    with pytest.raises(InvalidScenario, match="do not say who owns each sample"):
        build_world(scenario(owners="false"))


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_each_node_is_measured_on_what_its_owner_has(precision):
    text = scenario(more="[evaluate]\nown = true\n").model_copy(update={"precision": precision})
    world = build_world(text)
    assert [targets.tolist() for _, targets in world.own_tests] == [[1], [2], [0]]
    assert world.test_targets.tolist() == [1, 2, 0]
    text = scenario(more="[evaluate]\nown = true\nvalidation = 0.5\n").model_copy(update={"seed": 4})
    several = build_world(text)  # which holds out some of everybody
    held = [OWNERS[inputs[:, 0].long()] for inputs, _ in several.own_tests]
    assert [set(each.tolist()) for each in held] == [{0}, {1}, {2}]


def test_test_samples_without_owners_are_named():
    for changes in ({"tests": "[]"}, {"more": "[task]\n"}):
        text = scenario(more="[evaluate]\nown = true\n", **{k: v for k, v in changes.items() if k == "tests"})
        if "more" in changes:
            text = text.model_copy(update={"task": text.task.model_copy(update={"partition": "iid"})})
        with pytest.raises(InvalidScenario, match=r"nothing says whose sample each test sample is.*natural"):
            build_world(text)
    with pytest.raises(InvalidScenario, match=r"every owner needs test samples.*1 of them without any"):
        build_world(scenario(tests="[0, 0, 2]", more="[evaluate]\nown = true\n"))
    with pytest.raises(InvalidTask, match="owners of the test samples cannot be used"):
        build_world(scenario(tests="[0, 1]", more="[evaluate]\nown = true\n"))
