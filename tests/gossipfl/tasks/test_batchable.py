"""Attention and linear layers of many rows: what each row gives alone, in as few calls as one row makes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional

from gossipfl.tasks.batchable import BatchableOperators, OneRowOperators
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


@pytest.mark.parametrize("length", [32, 33])
def test_long_attention_is_left_to_the_fused_operator(length: int) -> None:
    given = torch.randn(3, ROWS, SAMPLES, HEADS, length, WIDTH).unbind()
    attend = partial(functional.scaled_dot_product_attention, is_causal=True)
    with BatchableOperators():
        found = vmap(attend)(*given)
        graph = make_fx(vmap(attend))(*given)
    torch.testing.assert_close(found, attend(*(each.flatten(0, 1) for each in given)).view_as(found))
    assert any("flash" in str(node.target) for node in graph.graph.nodes) == (length > 32)


@pytest.mark.parametrize(("length", "width"), [(7, 5), (16, 10), (32, 17)])
def test_a_row_attends_alike_to_the_bit_wherever_it_stands(length: int, width: int) -> None:
    generator = torch.Generator().manual_seed(0)
    given = torch.randn(3, ROWS, SAMPLES, HEADS, length, width, generator=generator).unbind()
    order = torch.randperm(ROWS, generator=generator)

    def outcome(tensors: list[Tensor]) -> list[Tensor]:
        leaves = [each.clone().requires_grad_() for each in tensors]
        with BatchableOperators():
            found = vmap(partial(functional.scaled_dot_product_attention, is_causal=True))(*leaves)
        return [found.detach(), *torch.autograd.grad((found**2).sum(), leaves)]

    for one, other in zip(outcome([*given]), outcome([each[order] for each in given]), strict=True):
        assert torch.equal(one[order], other)


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
    of_rows, of_heads = 16, 16 * HEADS * (SAMPLES if batch_first else LENGTH)
    assert {node.meta["tensor_meta"].shape[0] for node in products} == {of_rows, of_heads}


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


CONVOLUTIONS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "plain": ((4, 3, 3, 3), {"padding": 1}),
    "odd": ((5, 3, 3, 2), {"bias": False}),
    "strided": ((4, 3, 3, 3), {"stride": (2, 1), "padding": (1, 0), "dilation": 2}),
    "of groups": ((6, 1, 3, 3), {"groups": 3, "padding": 1}),
    "same": ((4, 3, 3, 3), {"padding": "same"}),
}


def convolved(kind: str, rows: int = ROWS) -> tuple[Any, tuple[Tensor, ...]]:
    """A convolution of one row, and arguments of many."""
    shape, options = CONVOLUTIONS[kind]
    options = dict(options)
    generator = torch.Generator().manual_seed(0)
    shapes = (rows, SAMPLES, 3, 9, 8), (rows, *shape), (rows, shape[0])
    given = tuple(torch.randn(each, generator=generator) for each in shapes)
    given = given if options.pop("bias", True) else given[:2]
    return lambda *tensors: functional.conv2d(*tensors, **options), given


@pytest.mark.parametrize("kind", CONVOLUTIONS)
@pytest.mark.parametrize("shared", [None, 0, 1])
def test_convolutions_of_many_rows_are_those_of_each(kind: str, shared: int | None) -> None:
    """Also of images, or of a weight, that all rows have in common."""
    convolve, given = convolved(kind)
    given = tuple(each[0] if k == shared else each for k, each in enumerate(given))
    places = tuple(None if k == shared else 0 for k in range(len(given)))
    for tensor in given:
        tensor.requires_grad_()
    with BatchableOperators():
        found = vmap(convolve, places)(*given)
    expected = torch.stack(
        [convolve(*(t if k == shared else t[r] for k, t in enumerate(given))) for r in range(ROWS)]
    )
    torch.testing.assert_close(found, expected)
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    for one, other in zip(
        torch.autograd.grad((found * weights).sum(), given),
        torch.autograd.grad((expected * weights).sum(), given),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_a_row_is_convolved_alike_to_the_bit_wherever_it_stands(kind: str) -> None:
    """For shards cut blocks otherwise than one machine does."""
    convolve, given = convolved(kind, rows=8)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(2))

    def outcome(*tensors: Tensor) -> tuple[Tensor, ...]:
        tensors = tuple(each.clone().requires_grad_() for each in tensors)
        with BatchableOperators():
            found = vmap(lambda *given: functional.max_pool2d(functional.relu(convolve(*given)), 2))(*tensors)
        return found.detach(), *torch.autograd.grad((found**2).sum(), tensors)

    for one, other in zip(outcome(*given), outcome(*(each[order] for each in given)), strict=True):
        assert torch.equal(one[order], other)


@pytest.mark.parametrize("after", ["view", "group_norm"])
def test_what_needs_one_order_of_memory_follows_a_convolution(after: str) -> None:
    """In the other order ``view`` and norms of groups are refused in ``vmap``."""
    convolve, given = convolved("plain")

    def of_row(*tensors: Tensor) -> Tensor:
        found = convolve(*tensors)
        return found.view(SAMPLES, -1) if after == "view" else functional.group_norm(found, 2)

    with BatchableOperators():
        together = vmap(of_row)(*given)
    torch.testing.assert_close(together, torch.stack([of_row(*row) for row in zip(*given, strict=True)]))


@pytest.mark.parametrize("inplace", [False, True])
def test_pooled_positive_parts_and_their_gradient_are_torchs_bit_for_bit(inplace: bool) -> None:
    """Maxima come first, of fewer numbers."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(-3, 3, (ROWS, SAMPLES, 2, 8, 8), generator=generator).double().requires_grad_()
    weights = torch.randn(ROWS, SAMPLES, 2, 4, 4, generator=generator, dtype=torch.float64)

    def of_row(row: Tensor) -> Tensor:
        return functional.max_pool2d(functional.relu(row + 0, inplace=inplace), 2)

    with BatchableOperators():
        together = vmap(of_row)(images)
    both = together, torch.stack([of_row(row) for row in images])
    torch.testing.assert_close(*both, rtol=0, atol=0)
    gradients = [torch.autograd.grad((each * weights).sum(), images)[0] for each in both]
    torch.testing.assert_close(*gradients, rtol=0, atol=0)


@pytest.mark.parametrize("changed", [0, 1])
def test_what_has_changed_meanwhile_is_pooled_as_it_is(changed: int) -> None:
    def of_row(row: Tensor) -> Tensor:
        before = row + 0
        both = before, functional.relu(before)
        both[changed].sub_(1)
        return functional.max_pool2d(both[1], 2)

    images = torch.randn(ROWS, SAMPLES, 2, 8, 8)
    with BatchableOperators():
        together = vmap(of_row)(images)
    torch.testing.assert_close(together, torch.stack([of_row(row) for row in images]), rtol=0, atol=0)


class _Attending(nn.Module):
    def __init__(self, *, masked: bool) -> None:
        super().__init__()
        self.attention, self.masked = nn.MultiheadAttention(8, HEADS, batch_first=True), masked

    def forward(self, inputs: Tensor) -> Tensor:
        mask = torch.full((LENGTH, LENGTH), -torch.inf).triu(1)
        if not self.masked:
            return self.attention(inputs, inputs, inputs, need_weights=False)[0]
        return self.attention(inputs, inputs, inputs, attn_mask=mask, is_causal=True, need_weights=False)[0]


class _Indexed(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        found, places = functional.max_pool2d(functional.relu(images), 2, return_indices=True)
        return found * places


class _Flat(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.view(len(images), -1)


IMAGES, STEPS = (SAMPLES, 2, 6, 6), (SAMPLES, LENGTH, 8)
OF_ONE: dict[str, tuple[tuple[int, ...], Callable[[], nn.Module]]] = {
    "view": (IMAGES, lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.MaxPool2d(2), _Flat())),
    "norm": (IMAGES, lambda: nn.Sequential(nn.Conv2d(2, 4, 3, padding="same"), nn.GroupNorm(2, 4))),
    "pooled": (IMAGES, lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(3, 1, 1))),
    "in place": (IMAGES, lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2))),
    "indices": (IMAGES, lambda: nn.Sequential(nn.Conv2d(2, 4, 3), _Indexed())),
    "an image": (IMAGES[1:], lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2))),
    "attention": (STEPS, lambda: _Attending(masked=False)),
    "causal": (STEPS, lambda: _Attending(masked=True)),
    "rectified": (IMAGES, lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU())),
    "linear": (STEPS, lambda: nn.Linear(8, 3)),
}


@pytest.mark.parametrize("kind", OF_ONE)
def test_a_single_row_has_the_results_and_gradients_of_its_module(kind: str) -> None:
    torch.manual_seed(0)
    shape, make = OF_ONE[kind]
    module, given = make(), torch.randn(shape)
    parameters = dict(module.named_parameters())

    def of_row(inputs: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        leaves = [each.detach().requires_grad_() for each in (inputs, *tensors)]
        named = dict(zip(parameters, leaves[1:], strict=True))
        found = functional_call(module, named, (leaves[0],))
        return found.detach(), *torch.autograd.grad((found * found.detach().cos()).sum(), leaves)

    expected = of_row(given, *parameters.values())
    with OneRowOperators():
        found = of_row(given, *parameters.values())
        graph = make_fx(of_row)(given, *parameters.values())
    for results in (found, graph(given, *parameters.values())):
        for one, other in zip(results, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
