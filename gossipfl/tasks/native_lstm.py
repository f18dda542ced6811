"""LSTM layers by kernels of this project's own: when they are used, and rows that go through them together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from gossipfl.kernels.lstm import is_available

__all__ = ["computed", "is_native"]

_operators = torch.ops.gossipfl


def is_native(inputs: Tensor, first: Sequence[Tensor], parameters: Sequence[Tensor]) -> bool:
    """Whether there is a kernel for a layer: float32 on a CPU, and a compiler was found."""
    tensors = inputs, *first, *parameters
    return (
        all(each.dtype == torch.float32 and each.device.type == "cpu" for each in tensors)
        and inputs.numel() > 0
        and not torch.is_autocast_enabled("cpu")
        and is_available()
    )


def computed(
    inputs: Tensor, first: Sequence[Tensor], parameters: Sequence[Tensor], *, reverse: bool
) -> tuple[Tensor, Tensor]:
    """Outputs of all steps and the last cell of one layer in one direction.

    Parameters
    ----------
    inputs : Tensor
        Shape ``[steps, samples, width]``; under ``vmap``, of each row.
    first : sequence of Tensor
        Hidden state and cell before the first step, ``[samples, units]`` each.
    parameters : sequence of Tensor
        Weights of inputs and state, and perhaps their biases.
    reverse : bool
        Whether the last input comes first.
    """
    biases = parameters[2:] or (None, None)
    keep = torch.is_grad_enabled()
    outputs, cell, _ = _applied(inputs, *parameters[:2], *biases, *first, reverse, keep)
    return outputs, cell


def _applied(*given: Any) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ANN401
    found: tuple[Tensor, Tensor, Tensor] = _Layer.apply(*given)  # type: ignore[no-untyped-call]
    return found


class _Layer(torch.autograd.Function):
    """A layer of one row, or of rows in the first dimensions of all tensors."""

    @staticmethod
    def forward(*given: Any) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ANN401
        *tensors, reverse, keep = given
        before = tensors[0].shape[:-3]
        inputs, *others = (_in_rows(each, len(before)) for each in tensors)
        assert inputs is not None  # noqa: S101 - only biases may be
        found = _operators.lstm_layer(inputs, *others, reverse, _has_samples_first(inputs), keep, None)
        return tuple(each.reshape(*before, *each.shape[1:]) for each in found)

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        outputs, _, kept = output
        given, of_input, of_state, bias, _, hidden, cell, reverse, _ = inputs
        ctx.mark_non_differentiable(kept)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(given, of_input, of_state, hidden, cell, outputs, kept)
        ctx.reverse, ctx.has_biases = reverse, bias is not None  # type: ignore[attr-defined]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *by: Tensor | None) -> tuple[Any, ...]:  # noqa: ANN401
        saved = ctx.saved_tensors
        before = saved[0].shape[:-3]
        by_outputs, by_cell, inputs, *others = (
            None if each is None else _in_rows(each, len(before)) for each in (*by[:2], *saved)
        )
        assert inputs is not None  # noqa: S101 - it was given
        found = _operators.lstm_layer_backward(
            by_outputs,
            by_cell,
            inputs,
            *others,
            ctx.reverse,
            _has_samples_first(inputs),
            ctx.needs_input_grad[0],
        )
        by_inputs, by_weights, by_state, by_bias, by_hidden, by_first = (
            each.reshape(*before, *each.shape[1:]) if each.numel() else None for each in found
        )
        by_bias = by_bias if ctx.has_biases else None
        return by_inputs, by_weights, by_state, by_bias, by_bias, by_hidden, by_first, None, None

    @staticmethod
    def vmap(
        info: Any,  # noqa: ANN401
        in_dims: tuple[int | None, ...],
        *given: Any,  # noqa: ANN401
    ) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        """Compute all rows at once."""
        rows = [
            (each.expand(info.batch_size, *each.shape) if dim is None else each.movedim(dim, 0))
            if isinstance(each, Tensor)
            else each
            for each, dim in zip(given, in_dims, strict=True)
        ]
        return _applied(*rows), (0, 0, 0)


def _in_rows(tensor: Tensor | None, before: int) -> Tensor | None:
    """Tensor with one dimension in place of the first ``before``."""
    if tensor is None or before == 1:
        return tensor
    return tensor.flatten(0, before - 1) if before else tensor.unsqueeze(0)


def _has_samples_first(inputs: Tensor) -> bool:
    """Whether a sample's steps lie together in memory, as what follows will want them again."""
    return inputs.stride(2) > inputs.stride(1)
