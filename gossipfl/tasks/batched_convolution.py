"""Convolutions of many rows at once, with the channels of all rows beside one another in memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.func import vmap
from torch.nn import functional

__all__ = ["CONVOLUTIONS", "convolution", "convolution_of_one"]

CONVOLUTIONS = (functional.conv2d,)

_IMAGES = 4  # dimensions: samples, channels, height, width


def convolution(  # noqa: PLR0917 - torch calls it
    inputs: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,  # noqa: ANN401
    padding: Any = 0,  # noqa: ANN401
    dilation: Any = 1,  # noqa: ANN401
    groups: int = 1,
) -> Tensor:
    """Compute `torch.nn.functional.conv2d`, in or out of ``vmap``."""
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    found: Tensor = _Convolution.apply(inputs, weight, bias, options)  # type: ignore[no-untyped-call]
    return found


def convolution_of_one(inputs: Tensor, *weights: Any, **options: Any) -> Tensor:  # noqa: ANN401
    """Compute `torch.nn.functional.conv2d` of a single row, out of ``vmap``, with channels last in memory."""
    if inputs.dim() == _IMAGES and inputs.device.type == "cpu":
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    return functional.conv2d(inputs, *weights, **options)


class _Convolution(torch.autograd.Function):
    """Convolution with a rule for ``vmap``: torch's lays the channels of all rows out image by image.

    oneDNN computes so many groups of few channels two to four times as fast where channels are the last dimension
    in memory. There is no rule for gradients: those of many rows are the gradients of the call in `vmap`.
    """

    @staticmethod
    def forward(inputs: Tensor, weight: Tensor, bias: Tensor | None, options: dict[str, Any]) -> Tensor:
        """Compute a convolution where nothing is batched."""
        return functional.conv2d(inputs, weight, bias, **options)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ANN401
        """Keep nothing."""

    @staticmethod
    def vmap(  # noqa: PLR0917 - torch calls it
        info: Any,  # noqa: ANN401
        places: tuple[int | None, ...],
        inputs: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        options: dict[str, Any],
    ) -> tuple[Tensor, int]:
        """Compute convolutions of B rows: their channels become groups of channels of one call."""
        count = info.batch_size
        if (
            count == 1  # torch's own order of memory is the better one then
            or inputs.dim() != _IMAGES + 1
            or isinstance(options["padding"], str)
            or None in (*places[:2], bias is not None and places[2])
        ):
            return _as_torch_does(places, inputs, weight, bias, options), 0
        samples = inputs.movedim(places[0] or 0, 1).flatten(1, 2)
        weight = weight.movedim(places[1] or 0, 0).flatten(0, 1)
        if inputs.device.type == "cpu":
            samples = samples.contiguous(memory_format=torch.channels_last)
        if bias is not None:
            bias = bias.movedim(places[2] or 0, 0).flatten()
        groups = {**options, "groups": count * options["groups"]}
        found: Tensor = _Grouped.apply(samples, weight, bias, groups)  # type: ignore[no-untyped-call]
        return found.reshape(len(found), count, -1, *found.shape[2:]).movedim(1, 0), 0


class _Grouped(torch.autograd.Function):
    """Convolution of groups, whose bias has its gradient from a sum: oneDNN takes twice as long for it."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        inputs: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        options: dict[str, Any],
    ) -> Tensor:
        """Compute it."""
        ctx.save_for_backward(inputs, weight)
        ctx.options = options
        return functional.conv2d(inputs, weight, bias, **options)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:  # noqa: ANN401
        """Compute the gradients that are needed."""
        inputs, weight = ctx.saved_tensors
        wanted, options = ctx.needs_input_grad, ctx.options
        if inputs.is_contiguous(memory_format=torch.channels_last):
            by = by.contiguous(memory_format=torch.channels_last)
        stride, padding, dilation = (_pair(options[name]) for name in ("stride", "padding", "dilation"))
        by_inputs, by_weight, _ = torch.ops.aten.convolution_backward(
            by,
            inputs,
            weight,
            None,
            stride,
            padding,
            dilation,
            False,  # noqa: FBT003 - not a transposed one
            [0, 0],
            options["groups"],
            [wanted[0], wanted[1], False],
        )
        return by_inputs, by_weight, _summed(by) if wanted[2] else None, None


def _summed(by: Tensor) -> Tensor:
    """Sum of images by channel, by halves: in `torch.sum` the order depends on the place of a channel."""
    rest = by.permute(0, 2, 3, 1).flatten(0, 2)
    while len(rest) > 1:
        half, odd = divmod(len(rest), 2)
        summed = rest[:half] + rest[half : 2 * half]
        rest = torch.cat([summed[:1] + rest[-1:], summed[1:]]) if odd else summed
    return rest[0]


def _as_torch_does(
    places: tuple[int | None, ...],
    inputs: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    options: dict[str, Any],
) -> Tensor:
    """Compute it by torch's own rule: of one row, of single images, or where rows have the weight in common."""
    if bias is None:
        return vmap(lambda x, w: functional.conv2d(x, w, **options), places[:2])(inputs, weight)
    return vmap(lambda x, w, b: functional.conv2d(x, w, b, **options), places[:3])(inputs, weight, bias)


def _pair(value: Any) -> list[int]:  # noqa: ANN401
    return [value, value] if isinstance(value, int) else [int(each) for each in value] * (2 // len(value))
