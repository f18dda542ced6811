"""LSTM layers in graphs: those that are given an embedding's entries and tokens, and those that are not."""

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx

from gossipfl.kernels import lstm
from gossipfl.kernels.building import has_compiler
from gossipfl.tasks.batchable import NativeRecurrence
from sims.engine.programme import Programme
from sims.engine.recurrence_passes import layers_of_tokens
from sims.engine.written_graphs import read, written

pytestmark = pytest.mark.skipif(not has_compiler(), reason="there is no C++ compiler")

aten = torch.ops.aten
SAMPLES, STEPS, WIDTH, UNITS, ENTRIES = 12, 10, 10, 18, 20


class Model(nn.Module):
    """An embedding and an LSTM; with something between them, or none."""

    def __init__(self, *, batch_first, layers=1, entries=ENTRIES, between=None):
        super().__init__()
        self.embedding = nn.Embedding(entries, WIDTH, padding_idx=0)
        self.lstm = nn.LSTM(WIDTH, UNITS, layers, batch_first=batch_first)
        self.between = between or (lambda inputs: inputs)

    def forward(self, tokens):
        return self.lstm(self.between(self.embedding(tokens)))[0]


def given(model, *, steps_first, entries=ENTRIES):
    """A function of a row and samples, and its arguments."""
    generator = torch.Generator().manual_seed(0)
    shapes = {name: each.shape for name, each in model.named_parameters()}
    row = 0.3 * torch.randn(1, sum(shape.numel() for shape in shapes.values()), generator=generator)
    tokens = torch.randint(entries, (SAMPLES, STEPS), generator=generator)

    def function(rows, tokens):
        parts = rows[0].split([shape.numel() for shape in shapes.values()])
        named = {name: part.view(shape) for part, (name, shape) in zip(parts, shapes.items(), strict=True)}
        with NativeRecurrence():
            return functional_call(model, named, (tokens.T if steps_first else tokens,)) + 0

    return function, (row, tokens)


@torch.no_grad()
def rewritten(function, arguments):
    graph = layers_of_tokens(make_fx(function)(*arguments))
    torch.testing.assert_close(graph(*arguments), function(*arguments), rtol=1e-5, atol=1e-6)
    return graph


def has_embedding(graph):
    return aten.embedding.default in [node.target for node in graph.graph.nodes]


@pytest.mark.parametrize("batch_first", [True, False])
def test_layers_of_tokens_look_nothing_up(batch_first):
    function, arguments = given(Model(batch_first=batch_first, layers=2), steps_first=not batch_first)
    graph = rewritten(function, arguments)
    layers = [node for node in graph.graph.nodes if node.target is lstm.OPERATORS[0]]
    assert not has_embedding(graph) and [node.args[10] is None for node in layers] == [False, True]
    again = read(written(graph))
    assert torch.equal(again(*arguments), graph(*arguments))
    arguments[1][3, 2] = ENTRIES
    with pytest.raises(IndexError, match="tokens of an LSTM"):
        graph(*arguments)


LEFT = {
    "scaled": {"between": lambda inputs: 2 * inputs},
    "halved": {"between": lambda inputs: torch.cat([inputs[..., 5:], inputs[..., :5]], dim=-1)},
    "turned": {"between": lambda inputs: inputs.mT},
    "with another use": {"between": lambda inputs: inputs + inputs.mean()},
    "of many entries": {"entries": SAMPLES * STEPS},
}


@pytest.mark.parametrize("name", LEFT)
def test_other_inputs_are_looked_up(name):
    options = LEFT[name]
    function, arguments = given(Model(batch_first=True, **options), steps_first=False)
    assert has_embedding(rewritten(function, arguments))


def test_layers_with_gradients_look_up_theirs():
    function, arguments = given(Model(batch_first=True), steps_first=False)

    def slopes(rows, tokens):
        return torch.func.grad(lambda rows: function(rows, tokens).square().sum())(rows)

    assert has_embedding(layers_of_tokens(make_fx(slopes)(*arguments)))


@pytest.mark.slow
@pytest.mark.parametrize("batch_first", [True, False])
def test_compiled_layers_of_tokens_give_what_traced_ones_do(batch_first):
    function, arguments = given(Model(batch_first=batch_first), steps_first=not batch_first)
    programme = Programme(
        function, arguments, growing=(), calls=1, compile_when="always", threads=1, name="an LSTM"
    )
    assert programme.tier == "compiled" and not has_embedding(rewritten(function, arguments))
    torch.testing.assert_close(programme(0, *arguments)[0], function(*arguments), rtol=1e-5, atol=1e-6)
    arguments[1][3, 2] = ENTRIES
    with pytest.raises(RuntimeError):
        programme(0, *arguments)
