"""Local training: what torch.optim.SGD does, for any number of rows at once."""

from __future__ import annotations

import copy
import logging
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gossipfl.errors import IncompatibleModel, InvalidTask
from gossipfl.rows import load_row, to_row
from gossipfl.settings import TrainingSettings
from gossipfl.tasks import Task
from gossipfl.training import NodeData, Nodes, Trainer, batch_positions, learning_rates
from tests.gossipfl.training.small_tasks import MODELS, blobs, task_of

VECTORISED = ["perceptron", "convolutional", "batch_norm", "tied", "frozen", "recurrent"]
PARTS = [
    np.arange(start, start + count)
    for start, count in zip(range(0, 400, 25), [25, 9, 3, 16] * 4, strict=True)
]


def prepare(model: str, settings: TrainingSettings, *, rows: int = 16) -> tuple[Task, Trainer, Nodes]:
    """A trainer whose 16 nodes own between 3 and 25 samples, and nodes that start from different rows."""
    task, data = task_of(model), blobs()
    trainer = Trainer.of(task, NodeData.partitioned(data.train_inputs, data.train_targets, PARTS), settings)
    start = task.initial_row()
    noise = torch.randn(rows, trainer.layout.size, generator=torch.Generator().manual_seed(1))
    noise[:, trainer.layout.trainable_size :] = 0
    return task, trainer, Nodes.start(start + 0.1 * noise, optimiser_state_size=trainer.optimiser_state_size)


def assert_same(first: Nodes, second: Nodes, tolerance: float = 0.0) -> None:
    assert torch.equal(first.ages, second.ages)
    assert torch.equal(first.steps, second.steps)
    torch.testing.assert_close(first.rows, second.rows, rtol=0, atol=tolerance)
    torch.testing.assert_close(first.optimiser_state, second.optimiser_state, rtol=0, atol=2 * tolerance)


@pytest.mark.parametrize("model", VECTORISED)
@pytest.mark.parametrize(
    "settings",
    [
        TrainingSettings(learning_rate=0.2, batch_size=8),
        TrainingSettings(learning_rate=0.1, batch_size=8, momentum=0.9, weight_decay=0.01, clip_norm=0.5),
        TrainingSettings(learning_rate=0.3, batch_size=8, momentum=0.5, schedule="cosine", decay_age=6),
    ],
    ids=["plain", "momentum, decay, clipping", "cosine"],
)
def test_every_step_is_the_step_of_torch_sgd(model: str, settings: TrainingSettings) -> None:
    task, trainer, nodes = prepare(model, settings)
    data = trainer.data
    for node in (0, 2):  # with more samples than a batch, and with fewer
        module = task.build_module().train()
        load_row(module, trainer.layout, nodes.rows[node])
        parameters = [p for p in module.parameters() if p.requires_grad]
        optimiser = torch.optim.SGD(
            parameters, lr=0.1, momentum=settings.momentum, weight_decay=settings.weight_decay
        )
        own, owner = nodes.select(slice(node, node + 1)), np.array([node])
        for step in range(8):
            size = min(settings.batch_size, len(PARTS[node]))
            positions = batch_positions(
                seed=settings.seed,
                nodes=owner,
                steps=np.array([step]),
                counts=np.array([len(PARTS[node])]),
                size=size,
            )
            samples = torch.from_numpy(PARTS[node][positions[0]])
            optimiser.param_groups[0]["lr"] = float(learning_rates(torch.tensor([step]), settings))
            optimiser.zero_grad()
            loss = task.loss(module(data.inputs[samples]), data.targets[samples])
            loss.backward()
            if settings.clip_norm:
                torch.nn.utils.clip_grad_norm_(parameters, settings.clip_norm)
            optimiser.step()
            own, losses = trainer.train(own, owner)
            assert losses.item() == pytest.approx(loss.item(), abs=1e-5)
            torch.testing.assert_close(own.rows[0], to_row(module, trainer.layout), rtol=0, atol=2e-6)
        assert own.ages.tolist() == own.steps.tolist() == [8]


@pytest.mark.parametrize("model", list(MODELS))
def test_one_row_at_a_time_equals_sixty_four_rows_at_once(model: str) -> None:
    settings = TrainingSettings(learning_rate=0.1, momentum=0.9, clip_norm=1, batch_size=8, local_steps=5)
    _, trainer, nodes = prepare(model, settings, rows=64)
    owners = np.arange(64) % 16
    together, losses = trainer.train(nodes, owners)
    for node in range(64):
        alone, loss = trainer.train(nodes.select(slice(node, node + 1)), owners[node : node + 1])
        tolerance = 2e-5 if model == "batch_norm" else 2e-6  # of three samples: divided by small deviations
        assert_same(together.select(slice(node, node + 1)), alone, tolerance=tolerance)
        assert loss.item() == pytest.approx(losses[node].item(), abs=1e-5)
    assert not torch.allclose(together.rows, nodes.rows)


@pytest.mark.parametrize("model", VECTORISED)
def test_a_single_row_that_is_traced_has_the_gradient_of_its_module(model: str) -> None:
    _, trainer, nodes = prepare(model, TrainingSettings(learning_rate=0.1, batch_size=8), rows=1)
    batch = trainer.data.gather(np.array([0]), np.arange(8)[None])
    alone = trainer.gradients(nodes.rows, *batch, [])
    for one, other in zip(trainer.gradients.together(nodes.rows, *batch)[:4], alone[:4], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-6)


@pytest.mark.parametrize("model", list(MODELS))
def test_training_is_deterministic_and_leaves_its_input_and_the_global_generator_alone(model: str) -> None:
    settings = TrainingSettings(learning_rate=0.1, momentum=0.9, batch_size=8, local_steps=2)
    _, trainer, nodes = prepare(model, settings)
    before = copy.deepcopy(nodes)
    state = torch.random.get_rng_state()
    first, _ = trainer.train(nodes, np.arange(16))
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.rand(3)
    second, _ = trainer.train(nodes, np.arange(16))
    assert_same(first, second)
    assert_same(nodes, before)
    first.rows.zero_()  # results share no memory with what they came from
    assert_same(nodes, before)


def test_preparing_leaves_the_global_generator_alone() -> None:
    state = torch.random.get_rng_state()
    task = task_of("dropout")
    task.initial_row()
    data = task.data()
    Trainer.of(task, NodeData.of_one_node(data.train_inputs, data.train_targets), TrainingSettings())
    task.evaluate(task.initial_row()[None], data.test_inputs, data.test_targets)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_dropout_masks_depend_on_node_and_step_alone() -> None:
    _, trainer, nodes = prepare("dropout", TrainingSettings(batch_size=3))
    assert not trainer.gradients.vectorised
    same = Nodes.start(nodes.rows[:1].expand(2, -1))
    owners = np.array([2, 2])  # three samples: every batch is the same
    together, losses = trainer.train(same, owners)
    assert torch.equal(together.rows[0], together.rows[1])
    _, later = trainer.train(
        Nodes(rows=same.rows, ages=same.ages, steps=same.steps + 1, optimiser_state=same.optimiser_state),
        owners,
    )
    assert not torch.equal(losses, later)


@pytest.mark.parametrize(("model", "vectorised"), [(model, model in VECTORISED) for model in MODELS])
def test_only_what_cannot_be_batched_runs_row_by_row(
    model: str, vectorised: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="gossipfl"):
        _, trainer, _ = prepare(model, TrainingSettings(batch_size=3))
        assert trainer.gradients.vectorised == vectorised
    assert ("row by row" in caplog.text) == (not vectorised)


@settings(deadline=None, max_examples=25)
@given(owners=st.lists(st.integers(0, 15), min_size=1, max_size=12), steps=st.integers(0, 1000))
def test_any_selection_of_nodes_trains_as_in_any_other_company(owners: list[int], steps: int) -> None:
    trainer, nodes = SELECTION
    chosen = Nodes.start(nodes.rows[owners])
    chosen = Nodes(
        rows=chosen.rows,
        ages=chosen.ages + 3,
        steps=chosen.steps + steps,
        optimiser_state=chosen.optimiser_state,
    )
    together, losses = trainer.train(chosen, np.array(owners))
    backwards, losses_backwards = trainer.train(
        chosen.select(torch.arange(len(owners) - 1, -1, -1)), np.array(owners[::-1])
    )
    assert_same(together, backwards.select(torch.arange(len(owners) - 1, -1, -1)), tolerance=1e-6)
    torch.testing.assert_close(losses, losses_backwards.flip(0), rtol=0, atol=1e-5)
    assert (together.ages == 4).all()
    assert (together.steps == steps + 1).all()


SELECTION = prepare("perceptron", TrainingSettings(batch_size=8))[1:]


def test_a_peer_draws_as_its_number_in_the_network() -> None:
    settings = TrainingSettings(batch_size=8, local_steps=3)
    task, network, nodes = prepare("perceptron", settings)
    data = blobs()
    own = torch.from_numpy(PARTS[4])
    peer = Trainer.of(
        task, NodeData.of_one_node(data.train_inputs[own], data.train_targets[own], number=4), settings
    )
    alone, _ = peer.train(nodes.select(slice(4, 5)), np.array([0]))
    together, _ = network.train(nodes, np.arange(16))
    assert_same(alone, together.select(slice(4, 5)), tolerance=1e-6)


def test_several_local_steps_are_as_many_calls_with_the_mean_of_their_losses() -> None:
    _, three, nodes = prepare("batch_norm", TrainingSettings(batch_size=8, momentum=0.9, local_steps=3))
    _, one, _ = prepare("batch_norm", TrainingSettings(batch_size=8, momentum=0.9))
    owners = np.arange(16)
    expected, each = nodes, []
    for _ in range(3):
        expected, losses = one.train(expected, owners)
        each.append(losses)
    after, losses = three.train(nodes, owners)
    assert_same(after, expected)
    torch.testing.assert_close(losses, torch.stack(each).mean(dim=0))


def test_frozen_parameters_stay_and_running_statistics_move() -> None:
    for model, moves in (("frozen", False), ("batch_norm", True)):
        _, trainer, nodes = prepare(model, TrainingSettings(batch_size=8))
        after, _ = trainer.train(nodes, np.arange(16))
        untrained = slice(trainer.layout.trainable_size, None)
        assert torch.equal(after.rows[:, untrained], nodes.rows[:, untrained]) != moves


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_a_parameter_the_loss_does_not_reach_stays_as_in_torch(optimiser: str) -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Linear(16, 3), nn.Parameter(torch.ones(4))

        def forward(self, inputs: Tensor) -> Tensor:
            return self.used(inputs)

    data = blobs()
    task = Task(name="idle", model=Idle, data=blobs)
    trainer = Trainer.of(
        task,
        NodeData.of_one_node(data.train_inputs, data.train_targets),
        TrainingSettings(learning_rate=0.5, weight_decay=0.1, optimiser=optimiser),
    )
    entry = next(entry for entry in task.layout.entries if entry.name == "idle")
    for count in (1, 3):
        nodes = Nodes.start(
            task.initial_row().expand(count, -1), optimiser_state_size=trainer.optimiser_state_size
        )
        after, _ = trainer.train(nodes, np.zeros(count, dtype=np.int64))
        idle = after.rows[:, entry.offset : entry.offset + 4]
        assert torch.equal(idle, torch.ones(count, 4))


def test_no_nodes_train_to_no_nodes() -> None:
    _, trainer, nodes = prepare("perceptron", TrainingSettings())
    after, losses = trainer.train(nodes.select(slice(0, 0)), np.zeros(0, dtype=np.int64))
    assert len(after) == len(losses) == 0


@pytest.mark.parametrize(("momentum", "width", "extra"), [(0.9, 0, 0), (0.0, 5, 0), (0.0, 0, 1)])
def test_nodes_of_another_width_are_refused(momentum: float, width: int, extra: int) -> None:
    _, trainer, nodes = prepare("perceptron", TrainingSettings(momentum=momentum))
    wrong = Nodes.start(torch.zeros(2, nodes.rows.shape[1] + extra), optimiser_state_size=width)
    with pytest.raises(IncompatibleModel, match=r"do not fit this training.*Nodes\.start"):
        trainer.train(wrong, np.array([0, 1]))


def only_one_sample() -> NodeData:
    data = blobs()
    return NodeData.of_one_node(data.train_inputs[:1], data.train_targets[:1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": lambda: nn.Linear(5, 3)}, r"fails on a batch.*Error.*inputs \[2, 16\] float32"),
        ({"loss": lambda outputs, targets: nn.functional.cross_entropy(outputs, targets, reduction="none")},
         r"one number.*got \[2\] float32.*reduction='mean'"),
        ({"loss": lambda outputs, targets: outputs.argmax()}, "one number.*int64"),
        ({"loss": lambda outputs, targets: 0.5}, "one number.*got float"),
        ({"loss": lambda outputs, targets: outputs.detach().mean()}, "does not depend on any trainable"),
    ],
)  # fmt: skip
def test_a_task_that_cannot_be_trained_is_refused_before_training(
    changes: dict[str, object], message: str
) -> None:
    data = blobs()
    task = Task(**{"name": "wrong", "model": MODELS["perceptron"], "data": blobs, **changes})  # type: ignore[arg-type]
    with pytest.raises(InvalidTask, match=message):
        Trainer.of(task, NodeData.of_one_node(data.train_inputs, data.train_targets), TrainingSettings())


def test_a_node_too_small_for_its_model_is_refused_before_training() -> None:
    with pytest.raises(InvalidTask, match=r"fails on a batch.*more than 1 value per channel"):
        Trainer.of(task_of("batch_norm"), only_one_sample(), TrainingSettings())
    trainer = Trainer.of(task_of("perceptron"), only_one_sample(), TrainingSettings())
    nodes = Nodes.start(task_of("perceptron").initial_row()[None])
    after, _ = trainer.train(nodes, np.array([0]))
    assert not torch.equal(after.rows, nodes.rows)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_parameters_of_another_precision_are_refused_by_name(dtype: torch.dtype) -> None:
    data = blobs()
    task = Task(name="half", model=lambda: MODELS["perceptron"]().to(dtype), data=blobs)
    with pytest.raises(InvalidTask, match=r"'0\.weight' is .*expected float32.*autocast"):
        Trainer.of(
            task, NodeData.of_one_node(data.train_inputs.to(dtype), data.train_targets), TrainingSettings()
        )


def test_one_row_needs_none_of_the_libraries_that_batching_loads() -> None:
    program = """
import sys
import numpy as np
import torch
from gossipfl.tasks import find_task
from gossipfl.training import NodeData, Nodes, Trainer, TrainingSettings

task = find_task("digits")
data = task.data()
trainer = Trainer.of(task, NodeData.of_one_node(data.train_inputs, data.train_targets), TrainingSettings())
nodes, _ = trainer.train(Nodes.start(task.initial_row()[None]), np.zeros(1, dtype=np.int64))
task.evaluate(nodes.rows, data.test_inputs, data.test_targets)
print("sympy" in sys.modules)
trainer.train(nodes.select(torch.tensor([0, 0])), np.zeros(2, dtype=np.int64))
print("sympy" in sys.modules)
"""
    printed = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert printed.stdout.split() == ["False", "True"]
