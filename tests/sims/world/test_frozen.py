"""Frozen weights stored once, beside the same runs with them at every node."""

from unittest.mock import patch

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from torch import nn

import sims
from gossipfl.errors import IncompatibleModel, InvalidTask
from gossipfl.rows import load_row, to_row
from gossipfl.tasks import Task
from sims.errors import RunDirectoryError
from sims.scenario import parse_scenario
from sims.world import build_world
from tests.sims.worlds import blobs

MODELS = ("frozen", "frozen and batchnorm", "frozen and dropout", "frozen and personal")
ALGORITHMS = (
    "d_psgd",
    "gossip_learning",
    "gradient_tracking",
    "push_sum",
    "ad_psgd",
    "trimmed_mean",
    "qg_dsgdm",
)
TEXT = """
seed = {seed}
population.nodes = 9
task = {{ name = "tests.sims.worlds:blobs", options = {{ model = "{model}" }} }}
topology = {{ name = "random-regular", degree = 4 }}
algorithm.name = "{algorithm}"
training = {{ batch_size = 4, learning_rate = 0.1, optimiser = "{optimiser}", local_steps = {steps} }}
evaluate.every = 2
stop.rounds = 4
"""


def at_every_node():
    """Rows as they were: with all that is frozen."""
    return patch("sims.world.world.constants_apart", side_effect=lambda *both: both)


def scenario_of(model="frozen", algorithm="d_psgd", *, seed=0, optimiser="sgd", steps=1, more=""):
    text = TEXT.format(model=model, algorithm=algorithm, seed=seed, optimiser=optimiser, steps=steps)
    return parse_scenario(text + more)


@pytest.mark.parametrize(
    ("model", "algorithm"),
    [
        ("frozen", "gossip_learning"),
        ("frozen and batchnorm", "gradient_tracking"),
        ("frozen and dropout", "d_psgd"),
    ],
)
def test_models_are_those_of_rows_with_everything(model, algorithm):
    require_same(model, algorithm)


@pytest.mark.slow
@settings(max_examples=30, deadline=None, phases=[Phase.generate])  # each takes seconds
@given(
    model=st.sampled_from(MODELS),
    algorithm=st.sampled_from(ALGORITHMS),
    seed=st.integers(0, 99),
    optimiser=st.sampled_from(["sgd", "adamw"]),
    steps=st.integers(1, 2),
)
def test_any_models_are_those_of_rows_with_everything(model, algorithm, seed, optimiser, steps):
    if algorithm in ("gradient_tracking", "qg_dsgdm"):
        optimiser, steps = "sgd", 1
    require_same(model, algorithm, seed=seed, optimiser=optimiser, steps=steps)


def require_same(model, algorithm, **options):
    scenario = scenario_of(model, algorithm, **options)
    once = sims.run(scenario, compile_when="never")
    with at_every_node():
        each = sims.run(scenario, compile_when="never")
    whole, lean = blobs(model=model).layout, once.layout
    assert lean.size < whole.size == each.layout.size
    assert (lean.digest, lean.shared_size) == (whole.digest, whole.shared_size)
    for entry in lean.entries:
        same = next(other for other in whole.entries if other.name == entry.name)
        torch.testing.assert_close(entry.read(once.rows), same.read(each.rows), rtol=0, atol=0)
    for name in ("loss_mean", "accuracy_mean"):  # products of other shapes: rounding
        assert once.evaluations[name].to_list() == pytest.approx(each.evaluations[name].to_list(), rel=1e-5)


def test_a_module_is_made_from_a_row_and_the_layout_of_the_result():
    result, task = (
        sims.run(scenario_of("frozen and batchnorm"), compile_when="never"),
        blobs(model="frozen and batchnorm"),
    )
    module = task.build_module()
    load_row(module, result.layout, result.rows[3])
    row = to_row(module, task.layout)
    assert torch.equal(row[: task.layout.trainable_size], result.rows[3, : task.layout.trainable_size])
    measured = task.evaluate(row[None], task.dataset().test_inputs, task.dataset().test_targets)
    world = build_world(result.scenario)
    again = world.task.evaluate(result.rows[3:4], world.test_inputs, world.test_targets)
    assert measured["loss"] == again["loss"]
    with pytest.raises(IncompatibleModel, match="take the layout of the result"):
        load_row(module, task.layout, result.rows[3])


def test_a_resumed_run_goes_on_as_the_whole_one(tmp_path):
    scenario = scenario_of("frozen and batchnorm", "gossip_learning", optimiser="adamw")
    whole = sims.run(scenario, compile_when="never")
    sims.run(scenario, out=tmp_path, compile_when="never", interrupted=lambda: True)
    resumed = sims.run(None, out=tmp_path, resume=True, compile_when="never")
    assert torch.equal(resumed.rows, whole.rows)
    assert load_file(tmp_path / "rows.safetensors")["rows"].shape == (9, whole.layout.size)


def test_a_checkpoint_with_all_that_is_frozen_is_refused(tmp_path):
    with at_every_node():
        sims.run(scenario_of(), out=tmp_path, compile_when="never", interrupted=lambda: True)
    with pytest.raises(RunDirectoryError, match="expected 123 numbers: without what is frozen; got 363"):
        sims.run(None, out=tmp_path, resume=True, compile_when="never")


def test_rows_of_different_starts_keep_what_is_frozen():
    with patch("tests.sims.worlds.Task", side_effect=lambda **fields: Task(**fields, start="independent")):
        world = build_world(scenario_of())
    assert world.layout == blobs(model="frozen").layout


class Teacher(nn.Module):
    """Every third forward pass copies the weights to a frozen layer; its counter may be in no row."""

    def __init__(self, *, counted: bool) -> None:
        super().__init__()
        self.own, self.teacher = nn.Linear(5, 3), nn.Linear(5, 3).requires_grad_(False)
        if counted:
            self.register_buffer("passes", torch.zeros(()))
        else:
            self.passes = torch.zeros(1, requires_grad=False).expand(1)
        self.counted, self.calls = counted, iter(range(10**9))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if self.counted:
            self.passes += 1
            due = int(self.passes) % 3 == 0
        else:
            due = next(self.calls) >= 12
            inputs = inputs + 0 * torch.rand(1)  # so that models go through one by one
        if due and self.training:
            with torch.no_grad():
                self.teacher.weight.copy_(self.own.weight)
        return self.own(inputs) + self.teacher(inputs).detach()


def with_teacher(*, counted: bool):
    task = blobs()
    teacher = Task(name="teacher", model=lambda: Teacher(counted=counted), data=task.data)
    return patch("tests.sims.worlds.Task", side_effect=lambda **fields: teacher)


def test_what_changes_now_and_then_stays_in_rows_where_something_else_changes():
    with with_teacher(counted=True):
        result = sims.run(scenario_of(steps=2), compile_when="never")
    teacher = next(entry for entry in result.layout.entries if entry.name == "teacher.weight")
    found = teacher.read(result.rows)
    assert not torch.equal(found[0], found[1])


def test_what_changes_after_all_is_named():
    with (
        with_teacher(counted=False),
        pytest.raises(InvalidTask, match=r"'teacher\.weight', which it left alone"),
    ):
        sims.run(scenario_of(steps=3), compile_when="never")
