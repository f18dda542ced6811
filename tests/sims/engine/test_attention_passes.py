"""Attention in graphs, by our kernel and as products: the same in any order of memory, and what is left."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional

from gossipfl.kernels import attention
from gossipfl.kernels.building import has_compiler
from sims.engine import attention_passes
from sims.engine.attention_passes import (
    attention_as_products,
    attention_by_kernel,
    attention_without_kernel,
)
from sims.engine.products import OPERATOR, with_products
from sims.engine.written_graphs import read, written

compiled = pytest.mark.skipif(not has_compiler(), reason="there is no C++ compiler")
CLONE = torch.ops.aten.clone.default
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


@compiled
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 1, 3), (1, 2, 0, 3)])
@pytest.mark.parametrize("options", [{}, {"is_causal": True, "scale": 0.3}])
def test_short_attention_is_one_call_and_products_again(
    order: tuple[int, ...], options: dict[str, Any]
) -> None:
    generator = torch.Generator().manual_seed(0)
    whole = torch.randn(7, 4, 11, 24, generator=generator)
    query = whole.permute(order).contiguous().permute([order.index(d) for d in range(4)])
    key, value = torch.randn(2, 7, 4, 11, 24, generator=generator)

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        found = functional.scaled_dot_product_attention(query, key, value, **options)
        return found.permute(order).view(-1, 24) + 1

    with torch.no_grad():
        graph = attention_by_kernel(make_fx(attend)(query, key, value))
    assert targets(graph).count(attention.OPERATOR) == 1 and FUSED not in targets(graph)
    expected = attend(query, key, value)
    torch.testing.assert_close(graph(query, key, value), expected)
    torch.testing.assert_close(read(written(graph))(query, key, value), expected)
    plain = with_products(attention_without_kernel(graph))
    assert targets(plain).count(OPERATOR) == 2 and attention.OPERATOR not in targets(plain)
    torch.testing.assert_close(plain(query, key, value), expected)


@compiled
def test_what_one_product_computed_is_not_copied_apart() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(32, 4, 48, dropout=0.0, batch_first=True)
    layer.requires_grad_(requires_grad=False)
    inputs = torch.randn(18, 12, 32)
    graph = attention_by_kernel(make_fx(layer)(inputs))
    assert targets(graph).count(attention.OPERATOR) == 1 and CLONE not in targets(graph)
    torch.testing.assert_close(graph(inputs), layer(inputs))


@compiled
@pytest.mark.parametrize("heads", [1, 4])
def test_a_copy_that_is_changed_in_place_stays(heads: int) -> None:
    def attend(whole: Tensor) -> Tensor:
        copies = whole.unflatten(-1, (3, -1)).movedim(-2, 0).clone()
        copies[1].mul_(2)
        query, key, value = (copies[k].unflatten(-1, (heads, -1)).transpose(1, 2) for k in range(3))
        return functional.scaled_dot_product_attention(query, key, value, is_causal=True)

    whole = torch.randn(9, 16, 3 * 48)
    with torch.no_grad():
        graph = attention_by_kernel(make_fx(attend)(whole))
    assert {attention.OPERATOR, CLONE} <= set(targets(graph))
    torch.testing.assert_close(graph(whole), attend(whole))


@compiled
@pytest.mark.parametrize("case", ["few", "long", "masked", "with its gradient", "doubles", "no compiler"])
def test_other_attention_is_not_our_kernels(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dtype = torch.float64 if case == "doubles" else torch.float32
    steps = {"long": 40, "few": 2}.get(case, 16)
    given = torch.randn(3, 8, 4, steps, 16, dtype=dtype).unbind()
    mask = torch.ones(16, 16).tril().bool() if case == "masked" else None
    if case == "no compiler":
        monkeypatch.setattr(attention_passes, "is_available", lambda: False)

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(query, key, value, mask)

    def sloped(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        query = query.detach().requires_grad_()
        with torch.enable_grad():
            return torch.autograd.grad(attend(query, key, value).sum(), query)[0]

    with torch.no_grad():
        graph = make_fx(sloped if case == "with its gradient" else attend)(*given)
    assert attention.OPERATOR not in targets(attention_by_kernel(graph))


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
