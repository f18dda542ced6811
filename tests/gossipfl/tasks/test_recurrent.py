"""Recurrent modules go through training and evaluation many at a time, and learn the same as one by one."""

import pytest
import torch
from torch import nn
from torch.func import vmap

from gossipfl.tasks import Dataset, Task
from gossipfl.tasks.batchable import BatchableOperators
from gossipfl.training import NodeData, Nodes, Trainer, TrainingSettings


class Reader(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.head = nn.LazyLinear(3)
        self(torch.zeros(2, 4, 5))

    def forward(self, inputs):
        return self.head(self.layer(inputs)[0][:, -1])


LAYERS = {
    "gru": lambda: nn.GRU(5, 6, batch_first=True),
    "gru, two layers, both ways, no bias": lambda: nn.GRU(
        5, 6, num_layers=2, bidirectional=True, bias=False, batch_first=True
    ),
    "lstm": lambda: nn.LSTM(5, 6, batch_first=True),
    "lstm, two layers, both ways": lambda: nn.LSTM(5, 6, num_layers=2, bidirectional=True, batch_first=True),
    "lstm, projected": lambda: nn.LSTM(5, 6, proj_size=4, batch_first=True),
    "rnn, tanh": lambda: nn.RNN(5, 6, batch_first=True),
    "rnn, relu": lambda: nn.RNN(5, 6, nonlinearity="relu", batch_first=True),
}


@pytest.mark.parametrize("name", LAYERS)
def test_many_at_a_time_are_each_as_alone(name):
    generator = torch.Generator().manual_seed(0)
    inputs, targets = torch.randn(30, 4, 5, generator=generator), torch.arange(30) % 3
    data = Dataset(train_inputs=inputs, train_targets=targets, test_inputs=inputs, test_targets=targets)
    task = Task(name="reader", model=lambda: Reader(LAYERS[name]()), data=lambda: data, start="independent")
    rows = torch.stack([task.initial_row(node) for node in range(3)])
    settings = TrainingSettings(batch_size=4, local_steps=2)
    trainer = Trainer.of(task, NodeData.of_one_node(inputs, targets), settings)
    assert trainer.gradients.vectorised
    owners = torch.zeros(3, dtype=torch.int64).numpy()

    together, losses = trainer.train(Nodes.start(rows), owners)
    measured = task.evaluate(rows, inputs, targets)
    for k in range(3):
        alone, loss = trainer.train(Nodes.start(rows[k : k + 1]), owners[:1])
        assert torch.allclose(together.rows[k], alone.rows[0], atol=1e-6)
        assert losses[k] == pytest.approx(float(loss[0]), rel=1e-5)
        one = task.evaluate(rows[k : k + 1], inputs, targets)
        assert measured["loss"][k] == pytest.approx(float(one["loss"][0]), rel=1e-5)


KINDS = {
    "lstm": (nn.LSTM, {}),
    "lstm, two layers, both ways": (nn.LSTM, {"num_layers": 2, "bidirectional": True}),
    "gru": (nn.GRU, {}),
    "gru, no bias, backwards": (nn.GRU, {"bias": False, "bidirectional": True}),
    "rnn, tanh": (nn.RNN, {"num_layers": 2}),
    "rnn, relu": (nn.RNN, {"nonlinearity": "relu", "bias": False}),
}


@pytest.mark.parametrize("length", [1, 5])
@pytest.mark.parametrize("name", KINDS)
def test_results_and_all_gradients_are_torchs_whatever_is_asked_of_a_layer(name, length):
    """Of outputs and last states alike, by weights, inputs and first states, of which rows may share some."""
    kind, options = KINDS[name]
    layer = kind(3, 4, **options, dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)

    def drawn(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)

    rows, samples = 3, 2
    parameters = {key: drawn(rows, *p.shape) for key, p in layer.named_parameters()}
    inputs = drawn(rows, length, samples, 3)
    first = drawn((2 if layer.bidirectional else 1) * layer.num_layers, samples, 4)
    second = drawn(rows, *first.shape)

    def results(parameters, inputs, first, second):
        states = (first, second) if kind is nn.LSTM else second
        outputs, last = torch.func.functional_call(layer, parameters, (inputs, states))
        return outputs, *(last if kind is nn.LSTM else [last])

    with BatchableOperators():
        together = vmap(results, in_dims=(0, 0, None, 0))(parameters, inputs, first, second)
    each = [
        results({key: p[row] for key, p in parameters.items()}, inputs[row], first, second[row])
        for row in range(rows)
    ]
    alone = [torch.stack(parts) for parts in zip(*each, strict=True)]
    given = [*parameters.values(), inputs, first, second]
    for used in ([0], [-1], range(len(alone))):
        weights = [drawn(*alone[k].shape).detach() for k in used]
        gradients = [
            torch.autograd.grad(
                sum((found[k] * weight).sum() for k, weight in zip(used, weights, strict=True)),
                given,
                retain_graph=True,
                allow_unused=True,
                materialize_grads=True,
            )
            for found in (together, alone)
        ]
        for one, other in zip(*gradients, strict=True):
            torch.testing.assert_close(one, other)
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other)
