"""Modules that hold, draw or change more than their parameters: right, or refused by name."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from gossipfl.errors import InvalidTask
from gossipfl.rows import load_row, to_row
from gossipfl.tasks import Task
from gossipfl.training import NodeData, Nodes, Trainer, TrainingSettings, has_diverged
from tests.gossipfl.training.small_tasks import blobs, perceptron

SETTINGS = TrainingSettings(learning_rate=0.1, batch_size=400)


def task_with(model, **changes):
    return Task(**{"name": "hazard", "model": model, "data": blobs, **changes})


def trainer_of(task, settings=SETTINGS):
    data = task.data()
    return Trainer.of(task, NodeData.of_one_node(data.train_inputs, data.train_targets), settings)


def around(function, *, prepare=lambda module: None):
    """Factory of perceptrons whose forward pass is ``function(module, inputs)``."""

    class Around(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = perceptron()
            prepare(self)

        def forward(self, inputs):
            return function(self, inputs)

    return Around


def step_of_torch(task, row):
    """One step of SGD on all samples, by torch alone."""
    module, data = task.build_module().train(), task.data()
    load_row(module, task.layout, row)
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    task.loss(module(data.train_inputs), data.train_targets).backward()
    optimiser.step()
    return to_row(module, task.layout)


def checkpointed(*, use_reentrant):
    return around(
        lambda m, x: checkpoint(
            m.body, x.requires_grad_() if use_reentrant else x, use_reentrant=use_reentrant
        )
    )


def clamping(how):
    def forward(module, inputs):
        how(module.body[0].weight)
        return module.body(inputs)

    return around(forward)


def assign(weight):
    weight.data = weight.data.clamp(-0.1, 0.1)


class Renormed(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(3, 4, max_norm=0.5)
        self.head = nn.Linear(4, 3)

    def forward(self, inputs):
        return self.head(self.embedding((inputs[:, 0] > 0).long()))


CHANGING = {
    "checkpointing": checkpointed(use_reentrant=False),
    "checkpointing, reentrant": checkpointed(use_reentrant=True),
    "clamp_ without gradient": clamping(lambda w: torch.no_grad()(w.clamp_)(-0.1, 0.1)),
    "clamp_ of data": clamping(lambda w: w.data.clamp_(-0.1, 0.1)),
    "clamp_ that acts later": clamping(lambda w: w.data.clamp_(-2, 2)),
    "assigned data": clamping(assign),
    "Embedding(max_norm)": Renormed,
}


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("kind", CHANGING)
def test_what_changes_in_forward_is_as_in_torch_and_the_given_rows_are_untouched(kind, count):
    task = task_with(CHANGING[kind])
    trainer = trainer_of(task)
    start = task.initial_row()
    rows = torch.stack([start * (1 + 20 * k) for k in range(count)])
    given = rows.clone()
    after, _ = trainer.train(Nodes.start(rows), np.zeros(count, dtype=np.int64))
    assert torch.equal(rows, given)
    kept = after.rows.clone()
    for k in range(count):
        torch.testing.assert_close(after.rows[k], step_of_torch(task, given[k]), rtol=0, atol=1e-5)
    trainer.train(after, np.zeros(count, dtype=np.int64))
    assert torch.equal(after.rows, kept)


DRAWING = {
    "torch": lambda m, x: m.body(x * torch.rand(())),
    "random": lambda m, x: m.body(x * random.random()),
    "numpy": lambda m, x: m.body(x * float(np.random.rand())),
    "own torch generator": lambda m, x: m.body(x * torch.rand((), generator=m.source)),
    "own numpy generator": lambda m, x: m.body(x * m.numbers.random()),
    "own python generator": lambda m, x: m.body(x * m.python.random()),
    "functional dropout": lambda m, x: m.body(functional.dropout(x)),
}


def sources(module):
    module.source = torch.Generator()
    module.numbers = np.random.default_rng(0)
    module.python = random.Random(0)


@pytest.mark.parametrize("kind", DRAWING)
def test_draws_are_functions_of_seed_node_and_step(kind):
    task = task_with(around(DRAWING[kind], prepare=sources))
    first, second = trainer_of(task), trainer_of(task)
    assert not first.gradients.vectorised
    row = task.initial_row()[None]
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tobytes()
    one = first.train(Nodes.start(row), np.zeros(1, dtype=np.int64), steps=2)[0]
    random.random(), torch.rand(3)
    assert torch.equal(states[0], torch.get_rng_state()) is False
    torch.set_rng_state(states[0])
    random.setstate(states[1])
    two = second.train(Nodes.start(row), np.zeros(1, dtype=np.int64), steps=2)[0]
    assert torch.equal(one.rows, two.rows)
    assert random.getstate() == states[1]
    later = Nodes(rows=row, ages=one.ages, steps=one.steps, optimiser_state=row[:, :0])
    assert not torch.equal(
        first.train(later, np.zeros(1, dtype=np.int64))[1],
        first.train(Nodes.start(row), np.zeros(1, dtype=np.int64))[1],
    )


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.calls = perceptron(), 0

    def forward(self, inputs):
        self.calls += 1
        return self.body(inputs) / self.calls


class Remembering(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.mean = perceptron(), torch.zeros(3)

    def forward(self, inputs):
        outputs = self.body(inputs)
        self.mean = 0.9 * self.mean + 0.1 * outputs.detach().mean(dim=0)
        return outputs


REFUSED = {
    "clock": (around(lambda m, x: m.body(x * (1 + time.time() // 1e9))), r"numbers from time\.time"),
    "entropy": (
        around(lambda m, x: m.body(x * float(np.random.default_rng().random()))),
        "besides its parameters",
    ),
    "system": (around(lambda m, x: m.body(x * random.SystemRandom().random())), r"urandom"),
    "counter": (Counting, "besides its parameters|changes 'calls'"),
    "memory": (Remembering, "changes 'mean' from batch to batch.*register_buffer"),
    "not initialised": (
        around(lambda m, x: m.body(x), prepare=lambda m: m.body[0].weight.data.fill_(float("nan"))),
        "hold NaN",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_the_same_everywhere_is_refused_before_training(kind):
    model, message = REFUSED[kind]
    with pytest.raises(InvalidTask, match=message):
        trainer_of(task_with(model))


NET = perceptron()
STARTS = {
    "the same module": (lambda: NET, "same module twice.*deepcopy"),
    "parts of the same module": (lambda: nn.Sequential(NET, nn.ReLU()), "same module twice"),
    "NumPy without a seed": (
        around(
            lambda m, x: m.body(x),
            prepare=lambda m: m.body[0].bias.data.fill_(np.random.default_rng().random()),
        ),
        r"another model.*body\.0\.bias differs",
    ),
    "a constant of the clock": (
        around(
            lambda m, x: m.body(x), prepare=lambda m: setattr(m, "P", torch.tensor(time.perf_counter_ns()))
        ),
        "another model.*P differs",
    ),
}


@pytest.mark.parametrize("kind", STARTS)
def test_a_start_that_is_not_common_is_refused_when_the_task_is_made(kind):
    model, message = STARTS[kind]
    with pytest.raises(InvalidTask, match=message):
        task_with(model)


CONSTANTS = {
    "attribute": lambda m: setattr(m, "P", torch.randn(16, 16)),
    "buffer": lambda m: m.register_buffer("P", torch.randn(16, 16), persistent=False),
    "array": lambda m: setattr(m, "P", torch.from_numpy(np.random.randn(16, 16)).float()),
    "python": lambda m: setattr(m, "P", torch.tensor([random.gauss(0, 1) for _ in range(16)])),
}


@pytest.mark.parametrize("kind", CONSTANTS)
def test_constants_drawn_in_the_constructor_are_the_same_in_every_module_and_agreed_upon(kind):
    model = around(lambda m, x: m.body(x @ m.P if m.P.dim() == 2 else x * m.P), prepare=CONSTANTS[kind])
    task = task_with(model)
    torch.rand(5), random.random(), np.random.rand()
    again = task_with(model)
    assert torch.equal(task.build_module().P, again.build_module().P)
    assert torch.equal(task.initial_row(), again.initial_row())
    assert task.fingerprint == again.fingerprint
    other = around(lambda m, x: m.body(x), prepare=lambda m: (CONSTANTS[kind](m), setattr(m, "P", m.P + 1)))
    assert task_with(other).fingerprint != task.fingerprint


def test_the_start_is_part_of_the_fingerprint():
    def shifted():
        module = perceptron()
        module[0].bias.data[3] += 1e-6
        return module

    assert task_with(perceptron).fingerprint != task_with(shifted).fingerprint


def masked():
    return around(
        lambda m, x: m.body(x + m.mask.clamp(min=0)),
        prepare=lambda m: m.register_buffer("mask", torch.tensor(-torch.inf)),
    )


def test_an_infinite_constant_is_no_divergence():
    task = task_with(masked())
    trainer = trainer_of(task)
    row = task.initial_row()[None]
    assert not row.isfinite().all()
    after = trainer.train(Nodes.start(row), np.zeros(1, dtype=np.int64))[0]
    assert not has_diverged(after.rows, row)
    spoilt = after.rows.clone()
    spoilt[0, 3] = torch.nan
    assert has_diverged(spoilt, row)


def test_sixteen_million_batches_are_counted_exactly():
    def model():
        module = nn.Sequential(nn.Linear(16, 3), nn.BatchNorm1d(3))
        module[1].num_batches_tracked += 2**24
        return module

    task = task_with(model)
    trainer = trainer_of(task, TrainingSettings(batch_size=8, local_steps=3))
    for count in (1, 2):
        after, _ = trainer.train(
            Nodes.start(task.initial_row().expand(count, -1)), np.zeros(count, dtype=np.int64)
        )
        module = task.build_module()
        load_row(module, task.layout, after.rows[-1])
        assert module[1].num_batches_tracked.item() == 2**24 + 3


@pytest.mark.parametrize("method", ["train", "gradient"])
def test_changes_in_forward_are_kept_where_batches_differ_in_size(method):
    task = task_with(CHANGING["clamp_ that acts later"])
    data = task.data()
    parts = [np.arange(5), np.arange(5, 8)]
    trainer = Trainer.of(task, NodeData.partitioned(data.train_inputs, data.train_targets, parts), SETTINGS)
    nodes = Nodes.start(task.initial_row().repeat(2, 1) * 40)
    together = getattr(trainer, method)(nodes, np.arange(2))[0]
    for k in range(2):
        alone = trainer.train(nodes.select(slice(k, k + 1)), np.array([k]))[0]
        found, clamped = together.rows[k], alone.rows[0]
        if method == "train":
            torch.testing.assert_close(found, clamped)
        else:
            assert found[: 16 * 8].abs().max() == 2
