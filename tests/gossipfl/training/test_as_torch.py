"""Every kind of module, five steps: what `torch.optim` makes of the module itself, or a refusal by name."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

from gossipfl.errors import InvalidTask
from gossipfl.randomness import seeded
from gossipfl.rows import load_row, to_row
from gossipfl.tasks import Task
from gossipfl.training import NodeData, Nodes, Trainer, TrainingSettings
from gossipfl.training.batches import draw_seeds
from sims.engine.engine import Phases
from sims.engine.local import BlockTraining
from sims.scenario import parse_scenario
from sims.world import build_world
from tests.gossipfl.training import zoo

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")

STEPS = 5
COMMON = {"batch_size": zoo.EACH, "local_steps": STEPS}
# AdamW divides a gradient by its own size: with a small ε a gradient that is zero but for rounding makes a step.
RULES = {
    "sgd": {**COMMON, "learning_rate": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    "adamw": {**COMMON, "optimiser": "adamw", "learning_rate": 0.003, "epsilon": 1e-4, "weight_decay": 0.1},
}
TRAINED = [name for name, kind in zoo.KINDS.items() if kind.family != "refused"]
REFUSED = [name for name, kind in zoo.KINDS.items() if kind.family == "refused"]
QUICK_TRACED = ["BatchNorm2d", "LSTM", "TransformerEncoder", "Embedding, max_norm", "Dropout"]
QUICK_MANY = ["perceptron, ReLU", "TransformerEncoder", "self-attention by hand", "GRU", "GroupNorm"]


def by_torch(task: Task, row: Tensor, node: int, settings: TrainingSettings) -> Tensor:
    """The module itself, trained by `torch.optim` on a node's samples."""
    data = task.data()
    mine = slice(node * zoo.EACH, (node + 1) * zoo.EACH)
    module = task.build_module().train()
    load_row(module, task.layout, row)
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if settings.optimiser == "adamw":
        optimiser = torch.optim.AdamW(
            parameters, lr=settings.learning_rate, eps=settings.epsilon, weight_decay=settings.weight_decay
        )
    else:
        optimiser = torch.optim.SGD(
            parameters,
            lr=settings.learning_rate,
            momentum=settings.momentum,
            nesterov=settings.nesterov,
            weight_decay=settings.weight_decay,
        )
    for step in range(STEPS):
        (seed,) = draw_seeds(seed=settings.seed, nodes=np.array([node]), steps=np.array([step]))
        with seeded(seed):
            optimiser.zero_grad()
            task.loss(module(data.train_inputs[mine]), data.train_targets[mine]).backward()
        for parameter in parameters:  # torch.optim has no weight decay of sparse gradients
            if parameter.grad is not None and parameter.grad.is_sparse:
                parameter.grad = parameter.grad.to_dense()
        optimiser.step()
    return to_row(module, task.layout)


def assert_equal(found: Tensor, expected: Tensor) -> None:
    """Within 5e-5 of the largest number, and at least of 1."""
    finite = expected[expected.isfinite()]
    tolerance = 5e-5 * max(1.0, float(finite[finite.abs() < 1e6].abs().max()))
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance, equal_nan=True)


def starts(task: Task, count: int) -> Tensor:
    """Different rows: small noise on what is trained."""
    row = task.initial_row()
    rows = row.repeat(count, 1)
    width = task.layout.trainable_size
    rows[:, :width] += 0.02 * torch.randn(count, width, generator=torch.Generator().manual_seed(2))
    return rows


def train(kind: str, rule: str, count: int) -> None:
    settings = TrainingSettings(**RULES[rule])
    task = zoo.task_of(kind, count)
    data = task.data()
    parts = np.array_split(np.arange(count * zoo.EACH), count)
    trainer = Trainer.of(task, NodeData.partitioned(data.train_inputs, data.train_targets, parts), settings)
    rows = starts(task, count)
    given = rows.clone()
    after, losses = trainer.train(
        Nodes.start(rows, optimiser_state_size=trainer.optimiser_state_size), np.arange(count)
    )
    torch.testing.assert_close(rows, given, rtol=0, atol=0, equal_nan=True)
    assert losses.isfinite().all()
    for node in {0, count // 2, count - 1}:
        assert_equal(after.rows[node], by_torch(task, given[node], node, settings))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", TRAINED)
def test_a_trainer_gives_what_torch_gives(kind: str, rule: str) -> None:
    for count in (1, 3):
        train(kind, rule, count)


@pytest.mark.parametrize("kind", QUICK_MANY)
def test_sixty_four_at_once_are_each_as_in_torch(kind: str) -> None:
    train(kind, "adamw", 64)


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", TRAINED)
def test_sixty_four_of_every_kind_are_each_as_in_torch(kind: str, rule: str) -> None:
    train(kind, rule, 64)


def trace(kind: str, rule: str, count: int) -> None:
    keys = "\n".join(f"{key} = {value!r}".replace("True", "true") for key, value in RULES[rule].items())
    scenario = parse_scenario(
        f"""
        seed = 0
        [population]
        nodes = {max(count, 2)}
        [task]
        name = "tests.gossipfl.training.zoo:task_of"
        partition = "contiguous"
        [task.options]
        kind = "{kind}"
        nodes = {max(count, 2)}
        [topology]
        name = "complete"
        [algorithm]
        name = "d_psgd"
        [training]
        {keys}
        """
    )
    world = build_world(scenario)
    local = BlockTraining(
        world, expected_rounds=0, threads=1, compile_when="never", device=torch.device("cpu"), phases=Phases()
    )
    if count == 1:  # a network has two nodes, and a block may have one
        local.blocks.block = 1
    rows = starts(world.task, max(count, 2))
    nodes = Nodes.start(rows, optimiser_state_size=world.trainer.optimiser_state_size)
    after = local.update(nodes)
    for node in {0, count // 2, count - 1}:
        assert_equal(after.rows[node], by_torch(world.task, rows[node], node, world.scenario.training))
    expected = {"traced"} if local.vectorised else set()
    assert set(local.phases.tiers.values()) == expected


@pytest.mark.parametrize("kind", QUICK_TRACED)
def test_the_traced_engine_gives_what_torch_gives(kind: str) -> None:
    trace(kind, "adamw", 3)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3, 64])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", TRAINED)
def test_the_traced_engine_gives_what_torch_gives_of_every_kind(kind: str, rule: str, count: int) -> None:
    trace(kind, rule, count)


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_computed_is_refused_by_name(kind: str) -> None:
    with pytest.raises(InvalidTask, match=r"bfloat16|float64|besides its parameters|changes 'calls'"):
        train(kind, "sgd", 1)


def test_the_document_lists_every_kind_as_it_is() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert zoo.DOCUMENT.read_text(encoding="utf-8") == zoo.document()
