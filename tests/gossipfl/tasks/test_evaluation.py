"""Evaluation: one value of a model, whoever asks, and the samples as they were."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn
from torch.nn import functional

from gossipfl.rows import load_row
from gossipfl.tasks import Dataset, Task

INPUTS = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
TARGETS = torch.arange(9) % 3


def task_of(function, **options):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(4, 3)
            self.source = torch.Generator() if "own" in options else None

        def forward(self, inputs):
            return function(self, inputs)

    def data():
        return Dataset(train_inputs=INPUTS, train_targets=TARGETS, test_inputs=INPUTS, test_targets=TARGETS)

    return Task(name="evaluated", model=Model, data=data)


def rows_of(task, count):
    rows = task.initial_row().repeat(count, 1)
    return rows + 0.1 * torch.randn(rows.shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "function",
    [
        lambda m, x: m.body(x + torch.randn_like(x)),
        lambda m, x: functional.dropout(m.body(x), training=True),
        lambda m, x: m.body(x * torch.rand((), generator=m.source)),
    ],
)
def test_a_module_that_draws_has_one_loss(function):
    task = task_of(function, own=True)
    rows = rows_of(task, 3)
    state = torch.get_rng_state()
    together = task.evaluate(rows, INPUTS, TARGETS)["loss"]
    torch.rand(3)
    again = torch.stack([task.evaluate(row[None], INPUTS, TARGETS)["loss"][0] for row in rows])
    assert torch.equal(together, again)
    torch.set_rng_state(state)
    task.evaluate(rows, INPUTS, TARGETS)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("count", [1, 3])
def test_samples_are_as_before(count):
    task = task_of(lambda m, x: m.body(x.mul_(2)))
    rows, inputs = rows_of(task, count), INPUTS.clone()
    first = task.evaluate(rows, inputs, TARGETS)["loss"]
    assert torch.equal(inputs, INPUTS)
    assert torch.equal(task.evaluate(rows, inputs, TARGETS)["loss"], first)


def test_a_module_that_looks_at_its_own_parameters_is_evaluated_as_in_torch():
    def inward(module, inputs):
        with torch.enable_grad():
            slope = torch.autograd.grad(module.body(inputs).square().sum(), module.body.weight)[0]
        return module.body(inputs) * slope.mean()

    task = task_of(inward)
    rows = rows_of(task, 2)
    for row, found in zip(rows, task.evaluate(rows, INPUTS, TARGETS)["loss"], strict=True):
        module = task.build_module().eval()
        nn.utils.vector_to_parameters(row, module.parameters())
        torch.testing.assert_close(found, functional.cross_entropy(module(INPUTS), TARGETS).detach())


def test_threads_evaluate_one_after_another():
    inside, most = [], []

    def watching(module, inputs):
        inside.append(1)
        most.append(len(inside))
        outputs = module.body(inputs)
        threading.Event().wait(0.01)
        inside.pop()
        return outputs

    task = task_of(watching)
    rows = rows_of(task, 4)
    expected = [float(task.evaluate(row[None], INPUTS, TARGETS)["loss"]) for row in rows]
    found = [0.0] * 4

    def evaluate(place):
        for _ in range(3):
            found[place] = float(task.evaluate(rows[place][None], INPUTS, TARGETS)["loss"])

    threads = [threading.Thread(target=evaluate, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected
    assert max(most) == 1


class Force(nn.Module):
    """The derivative of a potential by the inputs, which the module takes itself."""

    def __init__(self):
        super().__init__()
        self.potential = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1))

    def forward(self, inputs):
        inputs = inputs.detach().requires_grad_()
        energy = self.potential(inputs).sum()
        return torch.autograd.grad(energy, inputs, create_graph=True)[0]


def test_a_module_that_differentiates_by_itself_is_evaluated_as_in_torch():
    inputs = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    task = Task(
        name="force",
        model=Force,
        loss=nn.functional.mse_loss,
        data=lambda: Dataset(
            train_inputs=inputs, train_targets=-inputs, test_inputs=inputs, test_targets=-inputs
        ),
    )
    rows = task.initial_row() * torch.tensor([[1.0], [2.0]])
    found = task.evaluate(rows, inputs, -inputs)
    assert not found["loss"].requires_grad
    for row, loss in zip(rows, found["loss"], strict=True):
        module = task.build_module()
        load_row(module, task.layout, row)
        torch.testing.assert_close(loss, nn.functional.mse_loss(module(inputs), -inputs).detach())


@pytest.mark.parametrize(
    "function",
    [
        lambda m, x: m.body(x),
        lambda m, x: m.body(x + torch.randn_like(x)),
        lambda m, x: m.body(x.add_(1.0)),
    ],
    ids=["plain", "draws", "changes its samples"],
)
def test_rows_on_samples_of_their_own_are_as_each_alone(function):
    task = task_of(function)
    rows = rows_of(task, 4)
    inputs = torch.stack([INPUTS.roll(k, 0) * (1 + k) for k in range(4)])
    targets = torch.stack([TARGETS.roll(2 * k, 0) for k in range(4)])
    given = inputs.clone()
    together = task.evaluate_each(rows, inputs, targets)
    assert inputs.equal(given)
    for place in range(4):
        alone = task.evaluate(rows[place : place + 1], inputs[place].clone(), targets[place])
        for name, values in together.items():
            assert values[place] == pytest.approx(float(alone[name][0]), rel=1e-5)
