"""Recurrent layers of many rows at once, with gradients worked out by hand.

Left to autograd, a step of an LSTM is some thirty small operations each way, each of which adds its own part to
the gradients of the weights. Here rows are a leading dimension of every product, all that needs no recurrence is
computed for all steps at once, and the weights' gradients are one product over all steps. ``tanh x`` is
``2σ(2x) − 1``, which takes a tenth of the time, and is as close as numbers around 1 can be.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional

__all__ = ["gru_layer", "lstm_layer", "plain_layer"]

_sigmoid_backward, _tanh_backward = torch.ops.aten.sigmoid_backward, torch.ops.aten.tanh_backward
_threshold_backward = torch.ops.aten.threshold_backward

Given = Sequence[Any]
Tensors = tuple[Tensor, ...]


class _Cell(ABC):
    """A recurrence over tensors ``[..., steps, samples, units]``; with rows, these are the first dimension."""

    outputs: ClassVar[int] = 1

    @staticmethod
    @abstractmethod
    def found(*given: Any) -> Tensors:  # noqa: ANN401
        """Outputs of all steps, other results, and whatever the gradient needs."""

    @staticmethod
    @abstractmethod
    def differentiated(by: Sequence[Tensor | None], given: Given, found: Given) -> tuple[Tensor | None, ...]:
        """Gradients by what is given, from those by the results."""


class _LSTM(_Cell):
    """Given: gates of the inputs ``[..., 4 units]``, their bias, the state's weights, and the first states."""

    outputs = 2

    @staticmethod
    def found(*given: Any) -> Tensors:  # noqa: ANN401
        gates, bias, of_state, hidden, cell = given
        active, units = _biased(gates, bias), hidden.shape[-1]
        outputs, cells, squashed = (_steps(active, units) for _ in range(3))
        by_state = of_state.mT.contiguous()
        for part in (active, by_state):  # σ gives tanh of half the argument
            part[..., 2 * units : 3 * units].mul_(2)
        for step, now in enumerate(active.unbind(-3)):
            _add_product(now, hidden, by_state).sigmoid_()
            entry, forget, new, out = now.chunk(4, dim=-1)
            new.mul_(2).sub_(1)
            cell = torch.mul(forget, cell, out=_at(cells, step)).addcmul_(entry, new)
            hidden = torch.mul(out, _tanh(cell, _at(squashed, step)), out=_at(outputs, step))
        return outputs, cell.clone(), active, cells, squashed

    @staticmethod
    def differentiated(by: Sequence[Tensor | None], given: Given, found: Given) -> tuple[Tensor | None, ...]:
        _, bias, of_state, hidden, cell = given
        outputs, _, active, cells, squashed = found
        entry, forget, new, out = active.chunk(4, dim=-1)
        by_gates = torch.empty_like(active)
        factors = by_gates.chunk(4, dim=-1)
        _sigmoid_backward.grad_input(new, entry, grad_input=factors[0])
        _sigmoid_backward.grad_input(_shifted(cell, cells), forget, grad_input=factors[1])
        _tanh_backward.grad_input(entry, new, grad_input=factors[2])
        _sigmoid_backward.grad_input(squashed, out, grad_input=factors[3])
        reaching = _tanh_backward(out, squashed)
        by_hidden = _filled(by[0], outputs)
        by_cell = _filled(by[1], _at(cells, -1))
        units = hidden.shape[-1]
        for step in reversed(range(active.shape[-3])):
            if step + 1 < active.shape[-3]:
                _add_product(_at(by_hidden, step), _at(by_gates, step + 1), of_state)
            by_cell.addcmul_(_at(by_hidden, step), _at(reaching, step))
            _at(by_gates, step)[..., : 3 * units].view(*by_cell.shape[:-1], 3, units).mul_(
                by_cell.unsqueeze(-2)
            )
            _at(by_gates, step)[..., 3 * units :].mul_(_at(by_hidden, step))
            by_cell.mul_(_at(forget, step))
        by_state = _summed(by_gates, _shifted(hidden, outputs))
        return by_gates, _of_bias(by_gates, bias), by_state, _at(by_gates, 0) @ of_state, by_cell


class _GRU(_Cell):
    """Given: gates of the inputs ``[..., 3 units]``, their bias, the state's weights and bias, the first state."""

    @staticmethod
    def found(*given: Any) -> Tensors:  # noqa: ANN401
        gates, bias, of_state, state_bias, hidden = given
        active, units = _biased(gates, bias), hidden.shape[-1]
        outputs, candidates = (_steps(active, units) for _ in range(2))
        by_state = of_state.mT.contiguous()
        for step, now in enumerate(active.unbind(-3)):
            seen = hidden @ by_state
            if state_bias is not None:
                seen += state_bias.unsqueeze(-2)
            now[..., : 2 * units].add_(seen[..., : 2 * units]).sigmoid_()
            reset, update, new = now.chunk(3, dim=-1)
            candidate = _at(candidates, step).copy_(seen[..., 2 * units :])
            _tanh(new.addcmul_(reset, candidate), new)
            hidden = torch.lerp(new, hidden, update, out=_at(outputs, step))
        return outputs, active, candidates

    @staticmethod
    def differentiated(by: Sequence[Tensor | None], given: Given, found: Given) -> tuple[Tensor | None, ...]:
        _, bias, of_state, state_bias, hidden = given
        outputs, active, candidates = found
        reset, update, new = active.chunk(3, dim=-1)
        before = _shifted(hidden, outputs)
        by_seen = torch.empty_like(active)
        factors = by_seen.chunk(3, dim=-1)
        _sigmoid_backward.grad_input(candidates, reset, grad_input=factors[0])
        _sigmoid_backward.grad_input(before - new, update, grad_input=factors[1])
        by_new = _tanh_backward(1 - update, new)
        by_hidden = _filled(by[0], outputs)
        for step in reversed(range(active.shape[-3])):
            now = _at(by_hidden, step)
            if step + 1 < active.shape[-3]:
                _add_product(now, _at(by_seen, step + 1), of_state)
                now.addcmul_(_at(by_hidden, step + 1), _at(update, step + 1))
            _at(by_new, step).mul_(now)
            _at(factors[0], step).mul_(_at(by_new, step))
            _at(factors[1], step).mul_(now)
            torch.mul(_at(by_new, step), _at(reset, step), out=_at(factors[2], step))
        by_first = torch.addcmul(_at(by_seen, 0) @ of_state, _at(by_hidden, 0), _at(update, 0))
        by_gates = torch.cat([*factors[:2], by_new], dim=-1)
        by_state = _summed(by_seen, before)
        return by_gates, _of_bias(by_gates, bias), by_state, _of_bias(by_seen, state_bias), by_first


class _Plain(_Cell):
    """Given: gates of the inputs ``[..., units]``, their bias, the state's weights, the first state."""

    @staticmethod
    @abstractmethod
    def activated(gates: Tensor) -> Tensor:
        """Apply the activation in place."""

    @staticmethod
    @abstractmethod
    def by_gates(by: Tensor, outputs: Tensor) -> Tensor:
        """Gradient by what was activated, from that by the outputs."""

    @classmethod
    def found(cls, *given: Any) -> Tensors:  # noqa: ANN401
        gates, bias, of_state, hidden = given
        outputs = _biased(gates, bias)
        by_state = of_state.mT.contiguous()
        for now in outputs.unbind(-3):
            hidden = cls.activated(_add_product(now, hidden, by_state))
        return (outputs,)

    @classmethod
    def differentiated(
        cls, by: Sequence[Tensor | None], given: Given, found: Given
    ) -> tuple[Tensor | None, ...]:
        _, bias, of_state, hidden = given
        (outputs,) = found
        by_gates = _filled(by[0], outputs)
        for step in reversed(range(outputs.shape[-3])):
            if step + 1 < outputs.shape[-3]:
                _add_product(_at(by_gates, step), _at(by_gates, step + 1), of_state)
            _at(by_gates, step).copy_(cls.by_gates(_at(by_gates, step), _at(outputs, step)))
        by_state = _summed(by_gates, _shifted(hidden, outputs))
        return by_gates, _of_bias(by_gates, bias), by_state, _at(by_gates, 0) @ of_state


class _PlainTanh(_Plain):
    @staticmethod
    def activated(gates: Tensor) -> Tensor:
        return _tanh(gates, gates)

    @staticmethod
    def by_gates(by: Tensor, outputs: Tensor) -> Tensor:
        found: Tensor = _tanh_backward(by, outputs)
        return found


class _PlainReLU(_Plain):
    @staticmethod
    def activated(gates: Tensor) -> Tensor:
        return gates.relu_()

    @staticmethod
    def by_gates(by: Tensor, outputs: Tensor) -> Tensor:
        found: Tensor = _threshold_backward(by, outputs, 0)
        return found


class _Layer(torch.autograd.Function):
    """A cell over all steps, with a rule for ``vmap``: rows are one more dimension."""

    @staticmethod
    def forward(cell: type[_Cell], *given: Any) -> Tensors:  # noqa: ANN401
        return cell.found(*given)

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple[Any, ...], output: Tensors) -> None:
        ctx.cell, *given = inputs  # type: ignore[attr-defined]
        ctx.mark_non_differentiable(*output[ctx.cell.outputs :])  # type: ignore[attr-defined]
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*given, *output)
        ctx.count = len(given)  # type: ignore[attr-defined]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *by: Tensor | None) -> tuple[Any, ...]:  # noqa: ANN401
        given, found = ctx.saved_tensors[: ctx.count], ctx.saved_tensors[ctx.count :]
        with torch.no_grad():
            return None, *ctx.cell.differentiated(by, given, found)

    @staticmethod
    def vmap(
        info: Any,  # noqa: ANN401
        in_dims: tuple[int | None, ...],
        cell: type[_Cell],
        *given: Tensor | None,
    ) -> tuple[Tensors, tuple[int, ...]]:
        """Compute all rows at once."""
        rows: list[Tensor | None] = []
        for each, dim in zip(given, in_dims[1:], strict=True):
            if each is None or dim is not None:
                rows.append(None if each is None else each.movedim(dim or 0, 0))
            else:
                rows.append(each.expand(info.batch_size, *each.shape))
        found = _found(cell, *rows)
        return found, (0,) * len(found)


def _found(cell: type[_Cell], *given: Tensor | None) -> Tensors:
    found: Tensors = _Layer.apply(cell, *given)  # type: ignore[no-untyped-call]
    return found


def lstm_layer(
    inputs: Tensor,
    first: Sequence[Tensor],
    parameters: Sequence[Tensor],
    has_biases: bool,  # noqa: FBT001 - torch's decompositions call it so
    reverse: bool = False,  # noqa: FBT001, FBT002
) -> tuple[Tensor, Tensors]:
    """Compute one layer of `torch.nn.LSTM` in one direction.

    Parameters
    ----------
    inputs : Tensor
        Shape ``[length, samples, width]``.
    first : sequence of Tensor
        Hidden state and cell before the first step, ``[samples, units]`` each.
    parameters : sequence of Tensor
        Weights of inputs and state, and their biases.
    has_biases : bool
    reverse : bool
        Whether the last input comes first.

    Returns
    -------
    outputs : Tensor
        Shape ``[length, samples, units]``.
    last : tuple of Tensor
        Hidden state and cell after the last step.
    """
    of_state, bias = parameters[1], parameters[2] + parameters[3] if has_biases else None
    gates = _gates(inputs, parameters[0], reverse=reverse)
    outputs, cell, *_ = _found(_LSTM, gates, bias, of_state, *first)
    return outputs.flip(0) if reverse else outputs, (outputs[-1], cell)


def gru_layer(
    inputs: Tensor,
    first: Tensor,
    parameters: Sequence[Tensor],
    has_biases: bool,  # noqa: FBT001
    reverse: bool = False,  # noqa: FBT001, FBT002
) -> tuple[Tensor, Tensor]:
    """Compute one layer of `torch.nn.GRU` in one direction; as `lstm_layer`, with one state."""
    bias, state_bias = parameters[2:4] if has_biases else (None, None)
    gates = _gates(inputs, parameters[0], reverse=reverse)
    outputs, *_ = _found(_GRU, gates, bias, parameters[1], state_bias, first)
    return outputs.flip(0) if reverse else outputs, outputs[-1]


def plain_layer(
    inputs: Tensor,
    first: Tensor,
    parameters: Sequence[Tensor],
    has_biases: bool,  # noqa: FBT001
    reverse: bool = False,  # noqa: FBT001, FBT002
    *,
    relu: bool,
) -> tuple[Tensor, Tensor]:
    """Compute one layer of `torch.nn.RNN` in one direction; as `lstm_layer`, with one state."""
    bias = parameters[2] + parameters[3] if has_biases else None
    gates = _gates(inputs, parameters[0], reverse=reverse)
    (outputs,) = _found(_PlainReLU if relu else _PlainTanh, gates, bias, parameters[1], first)
    return outputs.flip(0) if reverse else outputs, outputs[-1]


def _gates(inputs: Tensor, weights: Tensor, *, reverse: bool) -> Tensor:
    """What inputs contribute to the gates of all steps, in one product."""
    inputs = inputs.flip(0) if reverse else inputs
    gates = functional.linear(inputs.flatten(0, 1), weights)
    return gates.reshape(*inputs.shape[:2], len(weights))


def _biased(gates: Tensor, bias: Tensor | None) -> Tensor:
    """Copy of gates, with their bias added."""
    biased = torch.empty(gates.shape, dtype=gates.dtype, device=gates.device)
    if bias is None:
        return biased.copy_(gates)
    return torch.add(gates, bias.unsqueeze(-2).unsqueeze(-2), out=biased)


def _steps(like: Tensor, units: int) -> Tensor:
    """Memory for so many numbers of each step and sample."""
    return like.new_empty((*like.shape[:-1], units))


def _at(tensor: Tensor, step: int) -> Tensor:
    return tensor.select(-3, step)


def _tanh(tensor: Tensor, into: Tensor) -> Tensor:
    return torch.mul(tensor, 2, out=into).sigmoid_().mul_(2).sub_(1)


def _add_product(to: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Add products in place: apart, for compiled programmes have kernels of their own for products."""
    return to.add_(left @ right)


def _shifted(first: Tensor, states: Tensor) -> Tensor:
    """State before each step."""
    return torch.cat([first.unsqueeze(-3), states[..., :-1, :, :]], dim=-3)


def _filled(by: Tensor | None, like: Tensor) -> Tensor:
    """Copy of a gradient that may be written to; zeros where there is none."""
    if by is None:
        return torch.zeros_like(like, memory_format=torch.contiguous_format)
    return by.clone(memory_format=torch.contiguous_format)


def _of_bias(by_gates: Tensor, bias: Tensor | None) -> Tensor | None:
    return None if bias is None else by_gates.sum(dim=(-3, -2))


def _summed(left: Tensor, right: Tensor) -> Tensor:
    """Sum of outer products over steps and samples."""
    return left.flatten(-3, -2).mT @ right.flatten(-3, -2)
