"""Attention and products of single models as the compiler is to have them: the same numbers, by our kernels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional

from sims.engine.compiled_passes import for_the_compiler
from sims.engine.products import with_products

FUSED = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
PRODUCT = torch.ops.gossipfl.product.default


def targets(graph: torch.fx.GraphModule) -> list[object]:
    """What a graph calls."""
    return [node.target for node in graph.graph.nodes if node.op == "call_function"]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 1, 3), (1, 2, 0, 3)])
@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"is_causal": True, "scale": 0.3}])
def test_short_attention_becomes_products(order: tuple[int, ...], options: dict[str, object]) -> None:
    """Whatever the order of memory, which the operator's result has from its query."""
    generator = torch.Generator().manual_seed(0)
    whole = torch.randn(3, 2, 7, 4, generator=generator)
    inverse = [order.index(d) for d in range(4)]
    query = whole.permute(order).contiguous().permute(inverse)
    key, value = torch.randn(2, 3, 2, 7, 4, generator=generator)

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        found = functional.scaled_dot_product_attention(query, key, value, **options)
        return found.permute(order).view(-1, 4) + 1

    with torch.no_grad():
        graph = make_fx(attend)(query, key, value)
    rewritten = with_products(for_the_compiler(graph))
    assert FUSED in targets(graph)
    assert FUSED not in targets(rewritten)
    assert targets(rewritten).count(PRODUCT) == 2
    torch.testing.assert_close(rewritten(query, key, value), attend(query, key, value))


@pytest.mark.parametrize("case", ["long", "masked", "with its gradient"])
def test_other_attention_is_left_to_the_fused_operator(case: str) -> None:
    given = torch.randn(3, 2, 2, 40 if case == "long" else 7, 4).unbind()
    mask = torch.ones(7, 7).tril().bool() if case == "masked" else None

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(query, key, value, mask)

    def sloped(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        query = query.detach().requires_grad_()
        with torch.enable_grad():
            return torch.autograd.grad(attend(query, key, value).sum(), query)[0]

    with torch.no_grad():
        graph = make_fx(sloped if case == "with its gradient" else attend)(*given)
    assert FUSED in targets(for_the_compiler(graph))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rows", [8, 100])
def test_the_products_of_a_single_model_on_many_samples_are_ours(rows: int, bias: bool) -> None:
    """With the weights laid along their columns, which takes half the kernel's time."""
    inputs, weight = torch.randn(rows, 40), torch.randn(24, 40)
    offsets = torch.randn(24) if bias else None

    def scores(inputs: Tensor, weight: Tensor) -> Tensor:
        return functional.linear(inputs, weight, offsets)

    graph = with_products(for_the_compiler(make_fx(scores)(inputs, weight)))
    assert (PRODUCT in targets(graph)) == (rows == 100)
    assert (torch.ops.aten.clone.default in targets(graph)) == (rows == 100)
    torch.testing.assert_close(graph(inputs, weight), scores(inputs, weight))
