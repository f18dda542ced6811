"""Max pooling of many rows at once, by maxima of slices: torch's own looks at one window after another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.overrides import TorchFunctionMode

aten = torch.ops.aten

__all__ = ["POOLING", "RECTIFIERS", "SlicedPooling", "max_pool", "max_pool_of_one", "rectified"]

POOLING = (functional.max_pool2d, torch.max_pool2d)
RECTIFIERS = (functional.relu, torch.relu, Tensor.relu)

_IMAGES = 4  # dimensions: samples, channels, height, width
_SIZES = 5  # arguments before the one that asks for indices
_MOST_IN_A_WINDOW = 4  # along one dimension; each is a pass over the numbers


def max_pool(  # noqa: PLR0917 - torch calls it
    inputs: Tensor,
    kernel_size: Any,  # noqa: ANN401
    stride: Any = None,  # noqa: ANN401
    padding: Any = 0,  # noqa: ANN401
    dilation: Any = 1,  # noqa: ANN401
    ceil_mode: bool = False,  # noqa: FBT001, FBT002 - torch's own signature
    return_indices: bool = False,  # noqa: FBT001, FBT002
) -> Any:  # noqa: ANN401
    """Compute `torch.nn.functional.max_pool2d`; windows that overlap, are padded or large are left to torch."""
    sizes, strides = _pair(kernel_size), _pair(kernel_size if stride in (None, []) else stride)
    plain = _pair(padding) == (0, 0) and _pair(dilation) == (1, 1) and not ceil_mode and not return_indices
    if not plain or sizes != strides or max(sizes) > _MOST_IN_A_WINDOW or inputs.dim() < 3:
        options = padding, dilation, ceil_mode, return_indices
        torchs: Any = functional.max_pool2d
        return torchs(inputs, kernel_size, stride, *options)
    before = _before_rectifying(inputs)
    if before is not None:  # the maximum of positive parts is that of the maximum, of fewer numbers
        return torch.relu(max_pool(before, sizes))
    # The last dimension first: of equal numbers in a window the first in order of rows then has the gradient.
    return _of_dimension(_of_dimension(inputs, -1, sizes[1]), -2, sizes[0])


def max_pool_of_one(inputs: Tensor, *sizes: Any, **options: Any) -> Any:  # noqa: ANN401 - as torch's own
    """Compute `torch.nn.functional.max_pool2d` of one row: five times as fast with channels last in memory."""
    before = None if options.get("return_indices") or len(sizes) > _SIZES else _before_rectifying(inputs)
    images = inputs if before is None else before  # maxima of positive parts are those of maxima
    if images.dim() == _IMAGES and images.device.type == "cpu":
        images = images.contiguous(memory_format=torch.channels_last)
    found = functional.max_pool2d(images, *sizes, **options)
    return found if before is None else torch.relu(found)


def rectified(inputs: Tensor, inplace: bool = False) -> Tensor:  # noqa: FBT001, FBT002 - torch's own signature
    """Compute `torch.nn.functional.relu`, whose result knows what it was made from, for a pooling that follows."""
    if inplace:
        return torch.relu_(inputs)
    found = torch.relu(inputs)
    found._made_from = inputs, _version(inputs), _version(found)  # type: ignore[attr-defined]
    return found


def _before_rectifying(tensor: Tensor) -> Tensor | None:
    """What a tensor is the positive part of, if that is known and neither has been changed."""
    inputs, *versions = getattr(tensor, "_made_from", (None,))
    return inputs if inputs is not None and versions == [_version(inputs), _version(tensor)] else None


def _version(tensor: Tensor) -> int:
    """How often a tensor has been changed; in ``vmap``, that of all rows."""
    known = torch._C._functorch
    while known.is_functorch_wrapped_tensor(tensor):
        tensor = known.get_unwrapped(tensor)
    return tensor._version


class SlicedPooling(TorchFunctionMode):
    """While this is active, models are pooled as many are, each alone; and attention takes no short cut of one."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Call an operator, or its replacement."""
        return (max_pool if func in POOLING else func)(*args, **(kwargs or {}))


def _of_dimension(inputs: Tensor, dimension: int, size: int) -> Tensor:
    if size == 1:
        return inputs
    found: Tensor = _Maxima.apply(inputs, dimension, size)  # type: ignore[no-untyped-call]
    return found


class _Maxima(torch.autograd.Function):
    """Maxima of windows along one dimension, counted from the last; what is left over is dropped."""

    @staticmethod
    def forward(inputs: Tensor, dimension: int, size: int) -> Tensor:
        first, *others = _slices(inputs, dimension, size)
        if not others:
            return first.clone()
        found = torch.maximum(first, others[0])
        for other in others[1:]:
            torch.maximum(found, other, out=found)
        return found

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ANN401
        ctx.dimension, ctx.size = inputs[1:]
        ctx.save_for_backward(inputs[0])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        (inputs,) = ctx.saved_tensors
        whole = inputs.shape[ctx.dimension] % ctx.size == 0
        # In the order of memory of the inputs: channels come last after a convolution of many rows.
        by_inputs = (torch.empty_like if whole else torch.zeros_like)(inputs)
        ones = _slices(inputs, ctx.dimension, ctx.size)
        most = list(accumulate(ones[:-1], torch.maximum))
        places = _slices(by_inputs, ctx.dimension, ctx.size)
        if len(ones) == 1:
            places[0].copy_(by)
        by = torch.empty_like(ones[0]).copy_(by)  # what follows has one order of memory
        # Only operators that torch computes with vectors: comparisons and choices take ten times as long.
        for k in range(len(ones) - 1, 0, -1):
            taken = aten.threshold_backward.grad_input(by, ones[k] - most[k - 1], 0, grad_input=places[k])
            by = torch.sub(by, taken, out=places[0] if k == 1 else None)
        return by_inputs, None, None

    @staticmethod
    def vmap(
        info: Any,  # noqa: ANN401
        in_dims: tuple[int | None, ...],
        inputs: Tensor,
        dimension: int,
        size: int,
    ) -> tuple[Tensor, int]:
        """Compute all rows at once."""
        del info
        return _of_dimension(inputs.movedim(in_dims[0] or 0, 0), dimension, size), 0


def _slices(tensor: Tensor, dimension: int, size: int) -> list[Tensor]:
    """Members of all windows: the first of each, the second of each, and so on."""
    dimension %= tensor.dim()
    windows = tensor.shape[dimension] // size
    kept = tensor.narrow(dimension, 0, windows * size)
    shape = tensor.shape[:dimension], tensor.shape[dimension + 1 :]
    return list(kept.view(*shape[0], windows, size, *shape[1]).unbind(dimension + 1))


def _pair(value: Any) -> tuple[int, int]:  # noqa: ANN401
    one, other = (value, value) if isinstance(value, int) else (value * 2 if len(value) == 1 else value)
    return int(one), int(other)
