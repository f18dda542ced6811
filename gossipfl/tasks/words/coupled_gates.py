"""Recurrence of the CIFG-LSTM, with its gradient worked out by hand: one row's, or many rows' at once.

Left to autograd, a step of the recurrence is some thirty small operations each way, each of which adds its own
part to the gradients of the weights. Here the weights' gradients are one product over all steps, and rows are a
leading dimension of every product.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

__all__ = ["coupled_gates"]

_sigmoid_backward, _tanh_backward = torch.ops.aten.sigmoid_backward, torch.ops.aten.tanh_backward

Found = tuple[Tensor, Tensor, Tensor, Tensor]


def coupled_gates(gates: Tensor, of_state: Tensor, projection: Tensor) -> Tensor:
    """Outputs ``[..., n, length, width]`` of the recurrence, from zero states.

    With f, o, g the three parts of ``gates_t + R y_{t−1}``: ``c_t = σ(f) c_{t−1} + (1 − σ(f)) tanh g`` and
    ``y_t = P (σ(o) tanh c_t)``; Greff et al., "LSTM: a search space odyssey", 2017 (CIFG), and Sak et al. 2014
    (projection).

    Parameters
    ----------
    gates : Tensor
        What the inputs contribute, shape ``[..., n, length, 3 units]``.
    of_state : Tensor
        R, shape ``[..., 3 units, width]``.
    projection : Tensor
        P, shape ``[..., width, units]``.
    """
    return _applied(gates, of_state, projection)[0].movedim(0, -2)


@torch.no_grad()
def _found(gates: Tensor, of_state: Tensor, projection: Tensor) -> Found:
    """Outputs, activated gates, cells and their tanh, of all steps: the step is the first dimension of each."""
    active = gates.movedim(-2, 0).clone(memory_format=torch.contiguous_format)
    length, units, width = len(active), projection.shape[-1], projection.shape[-2]
    outputs = active.new_empty((length, *active.shape[1:-1], width))
    cells, squashed = (active.new_empty((length, *active.shape[1:-1], units)) for _ in range(2))
    by_state, by_cell = of_state.mT.contiguous(), projection.mT.contiguous()
    for step in range(length):
        now = active[step]
        if step:
            _added_product(now, outputs[step - 1], by_state)
        now[..., : 2 * units].sigmoid_()
        now[..., 2 * units :].tanh_()
        kept, out, new = now.chunk(3, dim=-1)
        cell = cells[step]
        if step:
            torch.lerp(new, cells[step - 1], kept, out=cell)
        else:
            torch.addcmul(new, new, kept, value=-1, out=cell)
        torch.matmul(out * torch.tanh(cell, out=squashed[step]), by_cell, out=outputs[step])
    return outputs, active, cells, squashed


@torch.no_grad()
def _differentiated(
    by_outputs: Tensor, of_state: Tensor, projection: Tensor, found: Found
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients by ``gates``, ``of_state`` and ``projection``."""
    outputs, active, cells, squashed = found
    units = projection.shape[-1]
    by_outputs = by_outputs.clone(memory_format=torch.contiguous_format)
    by_gates = torch.empty_like(active)
    carried = torch.zeros_like(cells[0])
    for step in range(len(active) - 1, -1, -1):
        if step + 1 < len(active):
            _added_product(by_outputs[step], by_gates[step + 1], of_state)
        hidden = by_outputs[step] @ projection
        kept, out, new = active[step].chunk(3, dim=-1)
        by_kept, by_out, by_new = by_gates[step].chunk(3, dim=-1)
        squash = squashed[step]
        by_cell = _tanh_backward(hidden * out, squash).add_(carried)
        carried = by_cell * kept
        earlier = cells[step - 1] - new if step else -new
        _sigmoid_backward.grad_input(hidden.mul_(squash), out, grad_input=by_out)
        _sigmoid_backward.grad_input(earlier.mul_(by_cell), kept, grad_input=by_kept)
        _tanh_backward.grad_input(by_cell.sub_(carried), new, grad_input=by_new)
    by_state = _summed(by_gates[1:], outputs[:-1])
    by_projection = _summed(by_outputs, active[..., units : 2 * units] * squashed)
    return by_gates.movedim(0, -2), by_state, by_projection


def _added_product(to: Tensor, left: Tensor, right: Tensor) -> None:
    """Add a product of matrices, or of as many pairs of them as there are rows, in place."""
    if to.dim() == 2:
        to.addmm_(left, right)
    else:
        to.baddbmm_(left, right)


def _summed(left: Tensor, right: Tensor) -> Tensor:
    """Sum of outer products over steps and samples: ``[length, ..., n, a]`` and ``[length, ..., n, b]``."""
    left, right = (each.movedim(0, -3).flatten(-3, -2) for each in (left, right))
    return left.mT @ right


def _applied(*given: Tensor) -> Found:
    found: Found = _CoupledGates.apply(*given)  # type: ignore[no-untyped-call]
    return found


class _CoupledGates(torch.autograd.Function):
    @staticmethod
    def forward(gates: Tensor, of_state: Tensor, projection: Tensor) -> Found:
        return _found(gates, of_state, projection)

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple[Tensor, ...], output: Found) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs[1:], *output)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:  # noqa: ANN401
        of_state, projection, *found = ctx.saved_tensors
        return _differentiated(gradients[0], of_state, projection, tuple(found))

    @staticmethod
    def vmap(
        info: Any,  # noqa: ANN401
        in_dims: tuple[int | None, ...],
        *given: Tensor,
    ) -> tuple[Found, tuple[int, int, int, int]]:
        """Rows are one more dimension of all products."""
        rows = [
            each.expand(info.batch_size, *each.shape) if dim is None else each.movedim(dim, 0)
            for each, dim in zip(given, in_dims, strict=True)
        ]
        return _applied(*rows), (1, 1, 1, 1)
