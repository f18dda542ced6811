"""Optimisers on rows: what torch.optim does, for any number of rows at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from gossipfl.errors import SettingError
from gossipfl.rows import load_row, to_row
from gossipfl.settings import TrainingSettings, parse_settings
from gossipfl.training import NodeData, Nodes, Trainer, batch_positions, learning_rates, optimiser_of
from tests.gossipfl.training.small_tasks import blobs, task_of

KINDS = {
    "plain": {},
    "heavy ball": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    "adamw": {"optimiser": "adamw", "learning_rate": 0.003},
    "adamw, decoupled decay": {
        "optimiser": "adamw",
        "learning_rate": 0.003,
        "beta1": 0.8,
        "beta2": 0.95,
        "epsilon": 1e-6,
        "weight_decay": 0.1,
    },
}


def of_torch(parameters, settings):
    if settings.optimiser == "adamw":
        return torch.optim.AdamW(
            parameters,
            lr=settings.learning_rate,
            betas=(settings.beta1, settings.beta2),
            eps=settings.epsilon,
            weight_decay=settings.weight_decay,
        )
    return torch.optim.SGD(
        parameters,
        lr=settings.learning_rate,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay,
    )


def prepared(settings, nodes):
    task, data = task_of("perceptron"), blobs()
    parts = [np.arange(400) for _ in range(nodes)]
    trainer = Trainer.of(task, NodeData.partitioned(data.train_inputs, data.train_targets, parts), settings)
    start = task.initial_row()
    noise = 0.1 * torch.randn(nodes, trainer.layout.size, generator=torch.Generator().manual_seed(1))
    return task, trainer, Nodes.start(start + noise, optimiser_state_size=trainer.optimiser_state_size)


@pytest.mark.parametrize("count", [1, 64])
@pytest.mark.parametrize("kind", KINDS)
def test_fifty_steps_are_those_of_torch(kind, count):
    settings = TrainingSettings(batch_size=8, local_steps=50, **{"learning_rate": 0.05, **KINDS[kind]})
    task, trainer, nodes = prepared(settings, count)
    after, _ = trainer.train(nodes, np.arange(count))
    for node in range(0, count, 21):
        module = task.build_module().train()
        load_row(module, trainer.layout, nodes.rows[node])
        optimiser = of_torch([p for p in module.parameters() if p.requires_grad], settings)
        for step in range(50):
            positions = batch_positions(
                seed=settings.seed,
                nodes=np.array([node]),
                steps=np.array([step]),
                counts=np.array([400]),
                size=8,
            )[0]
            optimiser.zero_grad()
            task.loss(module(trainer.data.inputs[positions]), trainer.data.targets[positions]).backward()
            optimiser.step()
        torch.testing.assert_close(after.rows[node], to_row(module, trainer.layout), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_equals_torchs_in_double_precision_and_leaves_its_arguments_alone(kind):
    settings = TrainingSettings(**{"learning_rate": 0.05, **KINDS[kind]})
    rule, generator = optimiser_of(settings), torch.Generator().manual_seed(3)
    x = torch.randn(5, 7, dtype=torch.float64, generator=generator)
    gradients = torch.randn(20, 5, 7, dtype=torch.float64, generator=generator)
    parameter = nn.Parameter(x.clone())
    reference = of_torch([parameter], settings)
    state = x.new_zeros(5, rule.state_size(7))
    for gradient in gradients:
        parameter.grad = gradient.clone()
        reference.step()
        given = x.clone(), state.clone()
        penalised = gradient
        if settings.optimiser == "sgd":
            penalised = gradient + settings.weight_decay * x
        stepped, new = rule.step(x, penalised, state, rates=x.new_full((5, 1), settings.learning_rate))
        assert torch.equal(x, given[0])
        assert torch.equal(state, given[1])
        x, state = stepped, new
        torch.testing.assert_close(x, parameter.detach(), rtol=1e-12, atol=1e-12)


def test_the_step_size_rises_and_goes_by_steps_where_asked():
    settings = TrainingSettings(learning_rate=0.4, warm_up=4, schedule="inverse", decay_age=8, clock="step")
    clock = torch.tensor([0, 3, 4, 8])
    expected = [0.4 / 4, 0.4 / (1 + 3 / 8), 0.4 / 1.5, 0.4 / 2]
    assert learning_rates(clock, settings).tolist() == pytest.approx(expected)
    _, trainer, nodes = prepared(settings, 2)
    old = Nodes(
        rows=nodes.rows,
        ages=torch.tensor([1000, 1000]),
        steps=torch.tensor([8, 4]),
        optimiser_state=nodes.optimiser_state,
    )
    assert trainer.learning_rates(old)[:, 0].tolist() == pytest.approx([0.2, 0.4 / 1.5])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"optimiser": "adamw", "momentum": 0.9}, "momentum would be without effect"),
        ({"beta1": 0.5}, "beta1 would be without effect"),
        ({"nesterov": True}, "nesterov needs momentum"),
        ({"optimiser": "adam"}, "sgd"),
    ],
)
def test_what_would_be_without_effect_is_refused(wrong, said):
    with pytest.raises(SettingError, match=said):
        parse_settings({"training": wrong}, source="peer.toml")


def test_without_state_there_is_no_memory_for_it():
    assert optimiser_of(TrainingSettings()).state_size(1000) == 0
    assert optimiser_of(TrainingSettings(momentum=0.5)).state_size(1000) == 1000
    assert optimiser_of(TrainingSettings(optimiser="adamw")).state_size(1000) == 2001
