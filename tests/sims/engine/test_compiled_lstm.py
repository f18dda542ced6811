"""LSTM layers in traced graphs that are kept, and in compiled programmes: what the kernels give elsewhere."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from gossipfl.kernels import lstm
from gossipfl.kernels.building import has_compiler
from gossipfl.tasks.batchable import BatchableOperators
from sims.engine.programme import Programme
from sims.engine.written_graphs import read, written

pytestmark = pytest.mark.skipif(not has_compiler(), reason="there is no C++ compiler")

WIDTH, UNITS, LAYERS, ROWS, SAMPLES, STEPS = 5, 18, 2, 3, 6, 4


def gradients_of(layer, loss):
    """A function of rows and inputs: losses, and gradients by parameters and inputs."""
    shapes = {name: each.shape for name, each in layer.named_parameters()}

    def function(rows, inputs):
        parts = rows.split([shape.numel() for shape in shapes.values()], dim=1)
        named = {
            name: part.reshape(-1, *shape).requires_grad_()
            for part, (name, shape) in zip(parts, shapes.items(), strict=True)
        }
        inputs = inputs.detach().clone().requires_grad_()
        with BatchableOperators(), torch.enable_grad():
            losses = vmap(lambda named, given: loss(*functional_call(layer, named, (given,))))(named, inputs)
            found = torch.autograd.grad(losses.sum(), [*named.values(), inputs], materialize_grads=True)
        return [losses.detach(), *(each.reshape(len(rows), -1) for each in found)]

    return function


def of_outputs(outputs, _):
    return outputs.square().sum()


def of_last_states(_, states):
    return sum(state.square().sum() for state in states)


def of_a_mean(outputs, states):
    return outputs.mean() + states[1].mean()


def given(layer):
    generator = torch.Generator().manual_seed(0)
    numbers = sum(each.numel() for each in layer.parameters())
    rows = 0.3 * torch.randn(ROWS, numbers, generator=generator)
    return rows, torch.randn(ROWS, SAMPLES, STEPS, WIDTH, generator=generator)


def test_a_graph_with_a_layer_is_written_and_read():
    layer = nn.LSTM(WIDTH, UNITS, batch_first=True)
    function, arguments = gradients_of(layer, of_outputs), given(layer)
    graph = make_fx(function)(*arguments)
    again = read(written(graph))
    assert {node.target for node in again.graph.nodes} >= set(lstm.OPERATORS)
    for one, other in zip(function(*arguments), again(*arguments), strict=True):
        assert torch.equal(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("loss", [of_outputs, of_last_states, of_a_mean])
@pytest.mark.parametrize("options", [{}, {"bias": False, "bidirectional": True, "batch_first": True}])
def test_compiled_layers_give_what_traced_ones_do(loss, options):
    layer = nn.LSTM(WIDTH, UNITS, LAYERS, **options)
    function, arguments = gradients_of(layer, loss), given(layer)
    programme = Programme(
        function,
        arguments,
        growing=(),
        calls=1,
        compile_when="always",
        threads=1,
        name="an LSTM",
        unlocked=True,
    )
    assert programme.tier == "compiled"
    (unlocked,) = programme.unlocked
    for run in (lambda *tensors: programme(0, *tensors), unlocked):
        for one, other in zip(function(*arguments), run(*arguments), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_compiled_gradient_reads_rows_wherever_they_are():
    """Of outputs and what was kept, every second row."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(4 * UNITS, WIDTH), (4 * UNITS, UNITS), *[(4 * UNITS,)] * 2, *[(SAMPLES, UNITS)] * 2]
    shapes = [(2 * ROWS, STEPS, SAMPLES, WIDTH), *((2 * ROWS, *shape) for shape in shapes)]
    tensors = [0.3 * torch.randn(shape, generator=generator) for shape in shapes]
    outputs, _, kept = torch.ops.gossipfl.lstm_layer(*tensors, False, False, True, None)

    def function(outputs, kept, *tensors):
        inputs, of_input, of_state, _, _, hidden, cell = (each[::2] for each in tensors)
        found = torch.ops.gossipfl.lstm_layer_backward(
            outputs[::2],
            None,
            inputs,
            of_input,
            of_state,
            hidden,
            cell,
            outputs[::2],
            kept[::2],
            False,
            False,
            True,
        )
        return [each + 0 for each in found]

    arguments = outputs, kept, *tensors
    programme = Programme(
        function, arguments, growing=(), calls=1, compile_when="always", threads=1, name="a gradient"
    )
    assert programme.tier == "compiled"
    for one, other in zip(function(*arguments), programme(0, *arguments), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
