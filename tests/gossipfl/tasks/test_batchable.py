"""Attention and linear layers of many rows: what each row gives alone, in as few calls as one row makes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional

from gossipfl.tasks.batchable import BatchableOperators
from gossipfl.tasks.batched_pooling import SlicedPooling

ROWS, SAMPLES, HEADS, LENGTH, WIDTH = 5, 3, 2, 7, 4
DRAWS = torch.Generator().manual_seed(1)
CAUSAL = torch.ones(LENGTH, LENGTH).tril().bool()
MASKS = {
    "none": (None, None),
    "the same for all": (CAUSAL, None),
    "added": (torch.where(CAUSAL, 0.0, -torch.inf), None),
    "of samples": (torch.randn(SAMPLES, 1, LENGTH, LENGTH, generator=DRAWS), None),
    "of heads": (torch.randn(HEADS, LENGTH, LENGTH, generator=DRAWS), None),
    "of rows": (torch.randn(ROWS, LENGTH, LENGTH, generator=DRAWS), 0),
    "of rows and samples": (torch.randn(ROWS, SAMPLES, HEADS, LENGTH, LENGTH, generator=DRAWS), 0),
}


@pytest.mark.parametrize("leading", [(), (SAMPLES,), (SAMPLES, HEADS)])
@pytest.mark.parametrize("mask", MASKS)
def test_attention_of_many_rows_is_that_of_each(mask: str, leading: tuple[int, ...]) -> None:
    given, place = MASKS[mask]
    if given is not None and given.dim() - (place is not None) > 2 + len(leading):
        pytest.skip("the mask has more dimensions than the samples")
    if mask == "of heads" and leading == (SAMPLES,):
        pytest.skip("no heads")
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randn(ROWS, *leading, LENGTH, WIDTH, generator=generator) for _ in range(3)]
    rows[2] = rows[2].transpose(0, 1).contiguous().transpose(0, 1)  # rows need not come first in memory

    def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        return functional.scaled_dot_product_attention(query, key, value, mask, scale=0.3)

    for tensor in rows:
        tensor.requires_grad_()
    with BatchableOperators():
        together = vmap(attend, in_dims=(0, 0, 0, place))(*rows, given)
    alone = torch.stack(
        [attend(*(t[r] for t in rows), given if place is None else given[r]) for r in range(ROWS)]
    )
    torch.testing.assert_close(together, alone)
    weights = torch.randn(together.shape, generator=generator)
    for found, expected in zip(
        torch.autograd.grad((together * weights).sum(), rows),
        torch.autograd.grad((alone * weights).sum(), rows),
        strict=True,
    ):
        torch.testing.assert_close(found, expected)


def test_attention_of_what_all_rows_share_is_computed_once() -> None:
    shared = torch.randn(SAMPLES, HEADS, LENGTH, WIDTH)

    def scaled(factor: Tensor) -> Tensor:
        return factor * functional.scaled_dot_product_attention(shared, shared, shared)

    with BatchableOperators():
        found = vmap(scaled)(torch.arange(3.0))
    expected = functional.scaled_dot_product_attention(shared, shared, shared)
    torch.testing.assert_close(found, torch.stack([factor * expected for factor in range(3)]))


@pytest.mark.parametrize("batch_first", [True, False])
def test_multihead_attention_makes_no_call_a_row_and_copies_no_weights(batch_first: bool) -> None:
    module = nn.MultiheadAttention(8, HEADS, batch_first=batch_first)

    def attend(parameters: dict[str, Tensor], tokens: Tensor) -> Tensor:
        options = {"need_weights": False, "attn_mask": ~CAUSAL, "is_causal": True}
        return functional_call(module, parameters, (tokens, tokens, tokens), options)[0]

    def traced(count: int) -> torch.fx.GraphModule:
        parameters = {name: p.detach().expand(count, *p.shape) for name, p in module.named_parameters()}
        with BatchableOperators():
            return make_fx(vmap(attend))(parameters, torch.randn(count, SAMPLES, LENGTH, 8))

    few, many = (traced(count) for count in (2, 16))
    assert len(few.graph.nodes) == len(many.graph.nodes)
    products = [node for node in many.graph.nodes if node.target is torch.ops.aten.bmm.default]
    assert products
    assert all(node.meta["tensor_meta"].shape[0] == 16 for node in products)


@pytest.mark.parametrize(
    ("window", "sliced"), [(2, True), (3, True), ((1, 2), True), ({"kernel_size": 3, "stride": 2}, False)]
)
@pytest.mark.parametrize("alone", [False, True])
def test_pooling_and_its_gradient_are_torchs_bit_for_bit(window: Any, sliced: bool, alone: bool) -> None:
    """Also where numbers are equal, of which the first has the gradient; other windows are left to torch."""
    pool = nn.MaxPool2d(**window) if isinstance(window, dict) else nn.MaxPool2d(window)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(-2, 3, (ROWS, SAMPLES, 2, 9, 8), generator=generator).double().requires_grad_()
    if alone:
        with SlicedPooling():
            found = torch.stack([pool(row) for row in images])
    else:
        with BatchableOperators():
            found = vmap(pool)(images)
    expected = torch.stack([pool(row) for row in images])
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    weights = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    gradients = [torch.autograd.grad((each * weights).sum(), images)[0] for each in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=0, atol=0)
    with BatchableOperators():
        graph = make_fx(vmap(pool))(images.detach())
    assert any("maximum" in str(node.target) for node in graph.graph.nodes) == sliced
