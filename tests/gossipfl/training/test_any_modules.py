"""Any composition of layers, loss and optimiser: what torch makes of it, or a refusal by name."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, event, given, note, settings
from hypothesis import strategies as st
from torch import Tensor

from gossipfl.randomness import seeded
from gossipfl.rows import load_row, to_row, to_tensors
from gossipfl.tasks import Task
from gossipfl.training import NodeData, Nodes, Trainer, TrainingSettings, rehearse
from gossipfl.training.batches import batch_positions, draw_seeds
from sims.engine.engine import Phases
from sims.engine.local import BlockTraining
from sims.metrics.evaluation import Evaluator
from sims.scenario import parse_scenario
from sims.world import build_world
from tests.gossipfl.training.composed.composition import INPUTS, LOSSES, composed, task_of
from topology.errors import ExplainedError

SAMPLES = 5  # of a node
RULES = {
    "sgd": {"learning_rate": 0.05},
    "momentum": {"learning_rate": 0.02, "momentum": 0.9, "weight_decay": 0.01},
    "nesterov": {"learning_rate": 0.02, "momentum": 0.5, "nesterov": True},
    "clipped": {"learning_rate": 0.05, "clip_norm": 0.5},
    "adamw": {"optimiser": "adamw", "learning_rate": 0.003, "epsilon": 1e-3, "weight_decay": 0.1},
}
QUIETLY = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


@st.composite
def drawn(draw):
    return {
        "inputs": draw(st.sampled_from(sorted(INPUTS))),
        "layers": draw(st.lists(st.integers(0, 10_000), min_size=1, max_size=4)),
        "loss": draw(st.sampled_from(sorted(LOSSES))),
        "rule": draw(st.sampled_from(sorted(RULES))),
        "batch_size": draw(st.sampled_from([1, 2, 3, 5])),
        "local_steps": draw(st.integers(1, 3)),
        "rows": draw(st.sampled_from([1, 2, 3])),
        "engine": draw(st.sampled_from([*["trainer"] * 5, "traced"])),
    }


def check(case):
    """Train a case, and compare; 'refused' or 'trained'."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        note(str(composed(case["inputs"], case["layers"])))
        trained = RULES[case["rule"]] | {key: case[key] for key in ("batch_size", "local_steps")}
        training = TrainingSettings(**trained)
        try:
            task, rows, after = (by_trainer if case["engine"] == "trainer" else by_engine)(case, training)
        except ExplainedError as error:
            note(str(error))
            assert "Traceback" not in str(error)
            return "refused"
        for node in range(len(rows)):
            near = rows[node].clone()
            width = task.layout.trainable_size
            near[:width] *= 1 + 1e-6 * torch.randn(width, generator=torch.Generator().manual_seed(3))
            expected, nearly = (by_torch(task, row, node, training) for row in (rows[node], near))
            found, expected, nearly = (numbers(each, task) for each in (after[node], expected, nearly))
            require_close(found, expected, nearly)
        require_evaluated(task, after)
    return "trained"


def numbers(row: Tensor, task: Task) -> Tensor:
    """All numbers of a row, those of 64 bits put together again, in double precision."""
    return torch.cat([each.double().reshape(-1) for each in to_tensors(row, task.layout).values()])


def require_close(found: Tensor, expected: Tensor, nearly: Tensor) -> None:
    """Within 1e-4 of the largest number (at least of 1), and thirty times what a change of 1e-6 makes."""
    assert torch.equal(found.isfinite(), expected.isfinite())
    finite = expected.isfinite() & nearly.isfinite()
    rounding = (expected - nearly)[finite].abs().max()
    tolerance = 1e-4 * max(1.0, float(expected[finite].abs().max())) + 30 * float(rounding)
    assert float((found - expected)[finite].abs().max()) <= tolerance


def by_trainer(case, training):
    nodes = case["rows"]
    task = task_of(case["inputs"], json.dumps(case["layers"]), case["loss"], SAMPLES * nodes)
    data = task.dataset()
    parts = np.split(np.arange(SAMPLES * nodes), nodes)
    trainer = Trainer.of(task, NodeData.partitioned(data.train_inputs, data.train_targets, parts), training)
    rehearse(task, trainer, data.test_inputs, data.test_targets)
    rows = starts(task, nodes)
    before = [leaf.clone() for leaf in (rows, data.train_inputs, data.train_targets)]
    after, losses = trainer.train(
        Nodes.start(rows, optimiser_state_size=trainer.optimiser_state_size), np.arange(nodes)
    )
    for kept, leaf in zip(before, (rows, data.train_inputs, data.train_targets), strict=True):
        torch.testing.assert_close(leaf, kept, rtol=0, atol=0, equal_nan=True)
    assert losses.isfinite().all()
    return task, rows, after.rows


def by_engine(case, training):
    nodes = max(case["rows"], 2)
    keys = "\n".join(
        f"{key} = {value!r}".replace("True", "true")
        for key, value in (RULES[case["rule"]] | {k: case[k] for k in ("batch_size", "local_steps")}).items()
    )
    scenario = parse_scenario(
        f"""
        seed = 0
        [population]
        nodes = {nodes}
        [task]
        name = "tests.gossipfl.training.composed.composition:task_of"
        partition = "contiguous"
        [task.options]
        inputs = "{case["inputs"]}"
        numbers = "{json.dumps(case["layers"])}"
        loss = "{case["loss"]}"
        samples = {SAMPLES * nodes}
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
        world,
        expected_rounds=0,
        threads=1,
        compile_when="never",
        device=torch.device("cpu"),
        phases=Phases(),
    )
    if case["rows"] == 1:
        local.blocks.block = 1
    rows = starts(world.task, nodes)
    after = local.update(Nodes.start(rows, optimiser_state_size=world.trainer.optimiser_state_size))
    evaluator = Evaluator(world, expected_rows=0, compile_when="never")
    evaluator.block = 2
    traced = evaluator(after.rows)["loss"]
    alone = world.task.evaluate(after.rows, world.test_inputs, world.test_targets)["loss"]
    np.testing.assert_allclose(traced, alone, rtol=1e-3, atol=1e-4)
    return world.task, rows, after.rows


def starts(task: Task, count: int) -> Tensor:
    rows = task.initial_row().repeat(count, 1)
    width = task.layout.trainable_size
    rows[:, :width] += 0.02 * torch.randn(count, width, generator=torch.Generator().manual_seed(2))
    return rows


def by_torch(task: Task, row: Tensor, node: int, training: TrainingSettings) -> Tensor:
    """The module itself, trained by `torch.optim`."""
    data = task.data()
    module = task.build_module().train()
    load_row(module, task.layout, row)
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimiser = (
        torch.optim.AdamW(
            trained, lr=training.learning_rate, eps=training.epsilon, weight_decay=training.weight_decay
        )
        if training.optimiser == "adamw"
        else torch.optim.SGD(
            trained,
            lr=training.learning_rate,
            momentum=training.momentum,
            nesterov=training.nesterov,
            weight_decay=training.weight_decay,
        )
    )
    size = min(SAMPLES, training.batch_size)
    for step in range(training.local_steps):
        at = {"seed": training.seed, "nodes": np.array([node]), "steps": np.array([step])}
        index = torch.from_numpy(
            node * SAMPLES + batch_positions(**at, counts=np.array([SAMPLES]), size=size)[0]
        )
        inputs, targets = data.train_inputs[index], data.train_targets[index]
        (seed,) = draw_seeds(**at)
        with seeded(seed):
            optimiser.zero_grad()
            outputs = module(inputs)
            loss = task.loss(outputs, targets)
            nothing_counts = targets.dtype == torch.int64 and bool((targets == -100).all())
            (loss if not nothing_counts else outputs.sum() * 0).backward()
        for parameter in trained:  # torch.optim has no weight decay of sparse gradients
            if parameter.grad is not None and parameter.grad.is_sparse:
                parameter.grad = parameter.grad.to_dense()
        if training.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(trained, training.clip_norm)
        optimiser.step()
    return to_row(module, task.layout)


def require_evaluated(task: Task, rows: Tensor) -> None:
    """Require that rows together, and one alone, have the loss that torch gives, and again."""
    data = task.data()
    given = data.test_inputs.clone()
    together, again = (task.evaluate(rows, data.test_inputs, data.test_targets)["loss"] for _ in range(2))
    assert torch.equal(together, again)
    assert torch.equal(given, data.test_inputs)
    for place, row in enumerate(rows):
        alone = task.evaluate(row[None], data.test_inputs, data.test_targets)["loss"][0]
        module = task.build_module().eval()
        load_row(module, task.layout, row)
        with seeded(0), torch.no_grad():
            expected = task.loss(module(data.test_inputs.clone()), data.test_targets)
        for found in (together[place], alone):
            torch.testing.assert_close(found.float(), expected.float(), rtol=1e-3, atol=1e-4)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=QUIETLY)
@given(drawn())
def test_any_module_is_trained_as_torch_does_or_refused(case):
    event(check(case))


@pytest.mark.slow
@pytest.mark.timeout(7200)
@settings(max_examples=5_000, deadline=None, suppress_health_check=QUIETLY, print_blob=True)
@given(drawn())
def test_five_thousand_modules_are_trained_as_torch_does_or_refused(case):
    check(case)
