"""Layer norms in graphs: those that our kernel computes, and what is left as it is."""

import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional

from gossipfl.kernels import attention
from gossipfl.kernels.building import has_compiler
from gossipfl.kernels.norms import OPERATOR
from sims.engine import norm_passes
from sims.engine.norm_passes import norms_as_operators, norms_by_kernel
from sims.engine.programme import Programme
from sims.engine.written_graphs import read, written

pytestmark = pytest.mark.skipif(not has_compiler(), reason="there is no C++ compiler")

NORM = torch.ops.aten.native_layer_norm.default


def targets_of(graph):
    return [node.target for node in graph.graph.nodes]


def drawn(*shape, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(of, generator=generator, dtype=dtype) for of in (shape, shape[-1:], shape[-1:])]


@pytest.mark.parametrize("has", ["both", "weights", "neither"])
def test_many_lines_are_one_call_and_torchs_again(has):
    def norm(inputs, weights, bias):
        parameters = {"both": (weights, bias), "weights": (weights, None), "neither": (None, None)}[has]
        return functional.layer_norm(inputs.transpose(0, 1), (40,), *parameters, eps=1e-3).flatten(1) * 2

    given = drawn(30, 20, 40)
    graph = norms_by_kernel(make_fx(norm)(*given))
    assert targets_of(graph).count(OPERATOR) == 1 and NORM not in targets_of(graph)
    torch.testing.assert_close(graph(*given), norm(*given))
    torch.testing.assert_close(read(written(graph))(*given), norm(*given))
    again = norms_as_operators(graph)
    assert targets_of(again).count(NORM) == 1 and OPERATOR not in targets_of(again)
    assert torch.equal(again(*given), norm(*given))


@pytest.mark.parametrize(
    "case", ["few", "long lines", "two dimensions", "doubles", "with its gradient", "no compiler"]
)
def test_other_norms_are_torchs(case, monkeypatch):
    shape = {"few": (9, 40), "long lines": (30, 2000)}.get(case, (60, 12, 40))
    over = 2 if case == "two dimensions" else 1
    if case == "no compiler":
        monkeypatch.setattr(norm_passes, "is_available", lambda: False)

    def norm(inputs):
        return functional.layer_norm(inputs, inputs.shape[-over:])

    def sloped(inputs):
        inputs = inputs.detach().requires_grad_()
        with torch.enable_grad():
            return torch.autograd.grad(norm(inputs).square().sum(), inputs)[0]

    given = drawn(*shape, dtype=torch.float64 if case == "doubles" else torch.float32)[0]
    graph = norms_by_kernel(make_fx(sloped if case == "with its gradient" else norm)(given))
    assert OPERATOR not in targets_of(graph) and NORM in targets_of(graph)


def transformer():
    """A function of rows and samples, a layer of attention and a norm, and its arguments."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(32, 4, 48, dropout=0.0, batch_first=True, norm_first=True)
    model = nn.Sequential(layer, nn.LayerNorm(32))
    named = dict(model.named_parameters())
    sizes = [each.numel() for each in named.values()]

    def outputs(rows, inputs):
        parts = rows[0].split(sizes)
        parameters = {
            name: part.view(each.shape) for part, (name, each) in zip(parts, named.items(), strict=True)
        }
        return torch.func.functional_call(model, parameters, (inputs,)).unsqueeze(0)

    row = torch.cat([each.detach().flatten() for each in named.values()]).unsqueeze(0)
    return outputs, (row, torch.randn(64, 12, 32))


def test_an_evaluation_calls_both_kernels_unless_it_is_compiled():
    function, arguments = transformer()
    with torch.no_grad():
        programme = Programme(
            function, arguments, growing=(), calls=1, compile_when="never", threads=1, name="a layer"
        )
        expected = function(*arguments)
        torch.testing.assert_close(programme(0, *arguments), expected)
        graph = programme._runs[0]
        called = targets_of(graph)
        assert called.count(OPERATOR) == 3 and called.count(attention.OPERATOR) == 1
        for_the_compiler = programme._rewritten(graph)
        assert targets_of(for_the_compiler).count(NORM) == 3
        assert not {OPERATOR, attention.OPERATOR} & set(targets_of(for_the_compiler))
        torch.testing.assert_close(for_the_compiler(*arguments), expected)
        assert targets_of(graph) == called


@pytest.mark.slow
def test_a_compiled_evaluation_gives_what_a_traced_one_does():
    function, arguments = transformer()
    with torch.no_grad():
        programme = Programme(
            function, arguments, growing=(), calls=1, compile_when="always", threads=1, name="a layer"
        )
        assert programme.tier == "compiled"
        found = programme(0, *arguments)
        torch.testing.assert_close(found[0] if isinstance(found, list) else found, function(*arguments))
