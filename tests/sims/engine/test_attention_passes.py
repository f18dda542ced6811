"""Attention as products in graphs: the same numbers in whatever order of memory, and what is left as it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional

from sims.engine.attention_passes import attention_as_products
from sims.engine.products import OPERATOR, with_products

FUSED = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default


def targets(graph: torch.fx.GraphModule) -> list[object]:
    """What a graph calls."""
    return [node.target for node in graph.graph.nodes if node.op == "call_function"]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 1, 3), (1, 2, 0, 3)])
@pytest.mark.parametrize(
    ("options", "dtype"),
    [
        ({}, torch.float64),
        ({"is_causal": True}, torch.float32),
        ({"is_causal": True, "scale": 0.3}, torch.float32),
        ({"scale": 0.0}, torch.float32),
    ],
)
def test_short_attention_becomes_products(
    order: tuple[int, ...], options: dict[str, Any], dtype: torch.dtype
) -> None:
    """Whatever the order of memory, which the operator's result has from its query."""
    generator = torch.Generator().manual_seed(0)
    whole = torch.randn(3, 2, 7, 4, generator=generator, dtype=dtype)
    inverse = [order.index(d) for d in range(4)]
    query = whole.permute(order).contiguous().permute(inverse)
    key, value = torch.randn(2, 3, 2, 7, 4, generator=generator, dtype=dtype)

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        found = functional.scaled_dot_product_attention(query, key, value, **options)
        return found.permute(order).view(-1, 4) + 1

    with torch.no_grad():
        graph = make_fx(attend)(query, key, value)
    assert FUSED in targets(graph)
    rewritten = with_products(attention_as_products(graph))
    assert FUSED not in targets(rewritten)
    assert targets(rewritten).count(OPERATOR) == 2 * (dtype == torch.float32)  # doubles are left to torch
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
    assert FUSED in targets(attention_as_products(graph))
