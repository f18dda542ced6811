"""Models, losses and data that cannot be learned as they are: each is refused by name, with what to do."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from gossipfl.errors import InvalidTask
from gossipfl.tasks import Dataset, Task
from gossipfl.training import NodeData, Nodes, Trainer, TrainingSettings, rehearse

INPUTS, TARGETS = torch.randn(12, 4, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3


def tried(*, model=lambda: nn.Linear(4, 3), inputs=INPUTS, targets=TARGETS, **options):
    """Make a task, try it and train one step of two rows."""
    task = Task(
        name="a task",
        model=model,
        data=lambda: Dataset(
            train_inputs=inputs, train_targets=targets, test_inputs=inputs, test_targets=targets
        ),
        **options,
    )
    data = task.dataset()
    whole = NodeData.of_one_node(data.train_inputs, data.train_targets)
    trainer = Trainer.of(task, whole, TrainingSettings(batch_size=4))
    rehearse(task, trainer, data.test_inputs, data.test_targets)
    nodes = Nodes.start(task.initial_row().repeat(2, 1))
    return task, trainer.train(nodes, np.zeros(2, dtype=np.int64))[0]


def model_of(function, prepare=lambda module: None):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(4, 3)
            prepare(self)

        def forward(self, inputs):
            return function(self, inputs)

    return Model


def held(name, value):
    """Model that holds a tensor: a buffer, or a parameter if it is one."""

    def prepare(module):
        made = value() if callable(value) else value
        if isinstance(made, nn.Parameter):
            setattr(module, name, made)
        else:
            module.register_buffer(name, made)

    return model_of(lambda m, x: m.body(x), prepare)


def in_one_memory(module):
    whole = torch.zeros(4)
    module.first, module.second = nn.Parameter(whole[:3]), nn.Parameter(whole[1:])


def hidden_statistics(module):
    module.hidden = [nn.BatchNorm1d(3)]


def evaluated_once(module, inputs):
    outputs = module.body(inputs)
    module.eval()
    return outputs


def growing(module, inputs):
    module.extra = nn.Parameter(torch.zeros(3))
    return module.body(inputs) + module.extra


def counting_evaluations(module, inputs):
    if not module.training:
        module.count += 1
    return module.body(inputs) * module.count


class LearnedScale(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, outputs, targets):
        return functional.cross_entropy(outputs * self.scale, targets)


def conditional(module, inputs):
    return torch.cond(inputs.sum() > 0, module.body, lambda x: 2 * module.body(x), (inputs,))


MODELS = {
    "compiled while it runs": (
        model_of(conditional),
        r"torch compiles while it runs.*torch\.cond.*torch\.where",
    ),
    "two parameters in one memory": (
        model_of(lambda m, x: m.body(x), in_one_memory),
        "first and second lie in the same memory",
    ),
    "one number in several places": (
        held("p", lambda: nn.Parameter(torch.zeros(1).expand(3))),
        "p holds one number in several places",
    ),
    "complex": (
        held("p", lambda: nn.Parameter(torch.zeros(3, dtype=torch.complex64))),
        "p is complex.*view_as_real",
    ),
    "sparse buffer": (held("b", lambda: torch.eye(3).to_sparse()), r"b is not a dense tensor.*to_dense\(\)"),
    "lazy": (lambda: nn.LazyLinear(3), "no shape yet"),
    "on no device": (lambda: nn.Linear(4, 3, device="meta"), "not in the memory of the CPU.*meta"),
    "scripted": (lambda: torch.jit.script(nn.Linear(4, 3)), "compiled, scripted or wrapped"),
    "compiled": (
        lambda: torch.compile(nn.Linear(4, 3), backend="eager"),
        "compiled, scripted or wrapped.*itself",
    ),
    "wrapped": (lambda: nn.DataParallel(nn.Linear(4, 3)), "compiled, scripted or wrapped"),
    "statistics in a plain list": (
        model_of(lambda m, x: m.hidden[0](m.body(x)), hidden_statistics),
        "changes 'hidden.0.num_batches_tracked'",
    ),
    "evaluation from the second batch on": (
        model_of(evaluated_once),
        "switches 'Model' between training and evaluation",
    ),
    "parameters made in forward": (model_of(growing), "parameter 'extra' while it runs"),
    "a counter of evaluations": (
        model_of(counting_evaluations, lambda m: setattr(m, "count", 0)),
        "'loss' differs when the same model is evaluated again",
    ),
    "half precision": (lambda: nn.Linear(4, 3).half(), "float16.*autocast"),
}
LOSSES = {
    "with parameters": (LearnedScale(), "has parameters, which nobody would train.*got scale"),
    "NaN": (lambda o, t: (o.sum() - 1e9).log(), "the loss of the initial model is NaN"),
    "of every sample": (functools.partial(functional.cross_entropy, reduction="none"), "must be one number"),
    "of whole numbers": (lambda o, t: o.argmax(1).sum(), "must be one number"),
}
INPUTS_REFUSED = {
    "with a gradient": (INPUTS.clone().requires_grad_(), r"require gradients.*detach\(\)"),
    "elsewhere": (INPUTS.to("meta"), r"not in the memory of the CPU.*cpu\(\)"),
    "NaN": (INPUTS * torch.nan, "NaN or infinite numbers"),
    "of another dtype": (INPUTS.double(), r"must have the same dtype.*inputs \[2, 4\] float64"),
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_is_refused_by_name(kind):
    model, message = MODELS[kind]
    with pytest.raises(InvalidTask, match=message):
        tried(model=model)


@pytest.mark.parametrize("kind", LOSSES)
def test_a_loss_is_refused_by_name(kind):
    loss, message = LOSSES[kind]
    with pytest.raises(InvalidTask, match=message):
        tried(loss=loss)


@pytest.mark.parametrize("kind", INPUTS_REFUSED)
def test_inputs_are_refused_by_name(kind):
    inputs, message = INPUTS_REFUSED[kind]
    with pytest.raises(InvalidTask, match=message):
        tried(inputs=inputs)


def test_the_same_forms_that_are_sound_are_learned():
    tied = nn.Parameter(torch.zeros(3))

    def tie(module):
        module.first = module.second = nn.Parameter(tied.clone())

    def teach(module):
        module.teacher = [nn.Linear(4, 3).requires_grad_(requires_grad=False), module.body]

    def keep_order(module):
        module.p = nn.Parameter(torch.zeros(3, 4).mT)

    for forward, prepare in (
        (lambda m, x: m.body(x) + m.first * m.second, tie),
        (lambda m, x: m.body(x) - m.teacher[0](x), teach),
        (lambda m, x: m.body(x) + x @ m.p, keep_order),
    ):
        task, after = tried(model=model_of(forward, prepare))
        assert not torch.equal(after.rows[0], task.initial_row())


def test_a_factory_leaves_torch_as_it_was():
    def model():
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        return nn.Linear(4, 3, dtype=torch.float32)

    tried(model=model)
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    "loss",
    [
        lambda weight: nn.CrossEntropyLoss(weight=weight),
        lambda weight: functools.partial(functional.cross_entropy, weight=weight),
    ],
)
def test_the_numbers_of_a_loss_are_part_of_the_fingerprint(loss):
    def fingerprint(*weights):
        task = Task(name="a task", model=lambda: nn.Linear(4, 3), data=list, loss=loss(torch.tensor(weights)))
        return task.fingerprint

    assert fingerprint(1.0, 2.0, 3.0) == fingerprint(1.0, 2.0, 3.0) != fingerprint(1.0, 2.0, 4.0)


def test_what_a_teacher_in_a_list_holds_is_part_of_the_fingerprint():
    def fingerprint(bias):
        def teach(module):
            module.teacher = [nn.Linear(4, 3)]
            module.teacher[0].bias.data.fill_(bias)

        return Task(name="a task", model=model_of(lambda m, x: m.body(x), teach), data=list).fingerprint

    assert fingerprint(1.0) == fingerprint(1.0) != fingerprint(2.0)
