"""Large models, whose parameters are parts of their rows: trained and evaluated as torch does it."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from gossipfl.rows import load_row
from gossipfl.tasks import Dataset, Task
from gossipfl.training import NodeData, Nodes, Trainer, TrainingSettings
from gossipfl.training.own_module import OwnModule

NUMBERS = 2**22


class Wide(nn.Module):
    """A few more numbers than make a model large, most of them in one place, and statistics of its inputs."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.full((NUMBERS // 4, 4), 0.5))
        self.norm = nn.BatchNorm1d(4)
        self.unused = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return self.norm(x @ self.table[:4]) + self.table.mean()


class Clamping(Wide):
    """It keeps its parameters within bounds, behind autograd's back, but only after some batches."""

    def __init__(self, *, first):
        super().__init__()
        self.first = first
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        if self.batches >= self.first:
            self.table.data.clamp_(max=0.25)
        self.batches += self.training
        return super().forward(x)


def task_of(model):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(16, 4, generator=generator), torch.randint(4, (16,), generator=generator)
    data = Dataset(train_inputs=x, train_targets=y, test_inputs=x, test_targets=y)
    return Task(name="wide", model=model, data=lambda: data)


def trained(task, row, *, steps, **training):
    data = task.data()
    own = NodeData.of_one_node(data.train_inputs, data.train_targets)
    trainer = Trainer.of(task, own, TrainingSettings(batch_size=16, learning_rate=0.1, **training))
    nodes = Nodes.start(row[None], optimiser_state_size=trainer.optimiser_state_size)
    return trainer.train(nodes, np.zeros(1, dtype=np.int64), steps=steps)[0].rows[0]


def by_torch(task, row, *, steps, **training):
    module = task.build_module().train()
    load_row(module, task.layout, row)
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1, **training)
    data = task.data()
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(module(data.train_inputs), data.train_targets).backward()
        optimiser.step()
    return module


@pytest.mark.parametrize("training", [{}, {"momentum": 0.9, "weight_decay": 0.01}], ids=["plain", "momentum"])
def test_a_large_model_is_trained_as_by_torch_and_its_row_left_alone(training):
    task = task_of(Wide)
    row = task.initial_row()
    before = row.clone()
    after = trained(task, row, steps=3, **training)
    assert torch.equal(row, before)
    module = by_torch(task, row, steps=3, **training)
    expected = task.build_module()
    load_row(expected, task.layout, after)
    for (name, one), other in zip(module.state_dict().items(), expected.state_dict().values(), strict=True):
        assert torch.allclose(one, other, atol=1e-6), name


def test_a_row_that_begins_anywhere_gives_the_same_numbers():
    task = task_of(Wide)
    row = task.initial_row()
    elsewhere = torch.empty(len(row) + 1)[1:].copy_(row)
    assert elsewhere.data_ptr() % 64
    assert torch.equal(trained(task, row, steps=2), trained(task, elsewhere, steps=2))


@pytest.mark.parametrize("first", [0, 6], ids=["at once", "later"])
def test_what_a_module_writes_into_its_parameters_is_kept(first):
    task = task_of(lambda: Clamping(first=first))
    row = task.initial_row()
    row[task.layout.entries[-1].offset :] = 0
    after = trained(task, row, steps=8)
    assert float(after[4 : NUMBERS // 2].max()) < 0.3


def test_evaluation_reads_a_large_row_in_place_and_gives_what_the_module_does():
    task = task_of(Wide)
    row = task.initial_row() * 1.25
    data, before = task.data(), row.clone()
    for _ in range(2):  # the first tries the module
        measured = task.evaluate(row[None], data.test_inputs, data.test_targets)
    module = task.build_module().eval()
    load_row(module, task.layout, row)
    expected = nn.functional.cross_entropy(module(data.test_inputs), data.test_targets)
    assert torch.allclose(measured["loss"][0], expected)
    assert torch.equal(row, before)


@pytest.mark.parametrize(("where", "is_lent"), [("cpu", True), ("cuda", False)])
def test_parameters_are_parts_of_a_row_that_can_be_read(where, is_lent, monkeypatch):
    """A digest of what lies on a card would have to be fetched from there; a copy costs less."""
    monkeypatch.setattr("gossipfl.training.own_module._digest_of", lambda row: 7)
    module = OwnModule(Wide(), task_of(Wide).layout)
    module.trust()
    row = SimpleNamespace(data_ptr=lambda: 0, device=torch.device(where), clone=lambda: "a copy")
    assert module._lent(row) == ((row, 7) if is_lent else ("a copy", None))
