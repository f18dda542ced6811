"""Hooks that act on some gradients only, and modules that write into their samples: as in torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from gossipfl.rows import load_row, to_row
from gossipfl.tasks import Task
from gossipfl.training import NodeData, Nodes, Trainer, TrainingSettings
from tests.gossipfl.training.small_tasks import blobs


def halved_where_large(module):
    """Hook that acts on large weights only, which the initial ones are not."""

    def hook(gradient):
        return gradient * (0.5 if float(module.second.weight.detach().abs().max()) > 1 else 1.0)

    return hook


def halve_accumulated(parameter):
    if float(parameter.detach().abs().max()) > 1:
        parameter.grad.mul_(0.5)


def halve_inner(module, inner, outer):
    """Hook that acts on more samples than a trial has."""
    return tuple(gradient * 0.5 if len(gradient) > 2 else gradient for gradient in inner)


def of_activations(module, inputs):
    hidden = module.first(inputs)
    if hidden.requires_grad:
        hidden.register_hook(lambda gradient: gradient * 0.5 if len(gradient) > 2 else gradient)
    return module.second(hidden.tanh())


def plain(module, inputs):
    return module.second(module.first(inputs).tanh())


def in_place(module, inputs):
    return plain(module, inputs.mul_(2))


def asking_for_gradients(module, inputs):
    hidden = module.first(inputs)
    return module.second(hidden.tanh() * (2.0 if hidden.requires_grad else 1.0))


def nothing(module):
    """No hook."""


KINDS = {
    "of a parameter": (plain, lambda m: m.second.weight.register_hook(halved_where_large(m))),
    "after accumulation": (
        plain,
        lambda m: m.second.weight.register_post_accumulate_grad_hook(halve_accumulated),
    ),
    "of activations": (of_activations, nothing),
    "of a layer": (plain, lambda m: m.second.register_full_backward_hook(halve_inner)),
    "inputs changed in place": (in_place, nothing),
    "whether there are gradients": (asking_for_gradients, nothing),
}


def model_of(kind):
    forward, attach = KINDS[kind]

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(16, 8), nn.Linear(8, 3)
            attach(self)

        def forward(self, inputs):
            return forward(self, inputs)

    return Model


@pytest.mark.parametrize("kind", KINDS)
def test_steps_are_those_of_torch(kind):
    task = Task(name="hooked", model=model_of(kind), data=blobs)
    data = task.data()
    settings = TrainingSettings(batch_size=len(data.train_inputs), learning_rate=0.5)
    trainer = Trainer.of(task, NodeData.of_one_node(data.train_inputs, data.train_targets), settings)
    rows = torch.stack([task.initial_row() * scale for scale in (0.1, 1.0, 12.0)])
    given = data.train_inputs.clone()
    after, _ = trainer.train(Nodes.start(rows), np.zeros(3, dtype=np.int64))
    assert torch.equal(data.train_inputs, given)
    assert trainer.gradients.vectorised == (kind == "inputs changed in place")
    for row, found in zip(rows, after.rows, strict=True):
        module = task.build_module().train()
        load_row(module, task.layout, row)
        optimiser = torch.optim.SGD(module.parameters(), lr=0.5)
        task.loss(module(data.train_inputs.clone()), data.train_targets).backward()
        optimiser.step()
        torch.testing.assert_close(found, to_row(module, task.layout), rtol=0, atol=1e-4)


@pytest.mark.parametrize("count", [1, 3])
def test_batches_are_as_they_were_given(count):
    task = Task(name="in place", model=model_of("inputs changed in place"), data=blobs)
    data = task.data()
    whole = NodeData.of_one_node(data.train_inputs, data.train_targets)
    trainer = Trainer.of(task, whole, TrainingSettings(batch_size=4))
    inputs, targets = (
        leaf[:4].repeat(count, *[1] * leaf.dim()) for leaf in (data.train_inputs, data.train_targets)
    )
    given = inputs.clone()
    trainer.gradients(task.initial_row().repeat(count, 1), inputs, targets, [])
    assert torch.equal(inputs, given)
