"""Recurrent layers of many rows at once, with gradients worked out by hand.

Left to autograd, a step of an LSTM is some thirty small operations each way, each of which adds its own part to
the gradients of the weights. Here rows are a leading dimension of every product, all that needs no recurrence is
computed for all steps at once, and the weights' gradients are one product over all steps. ``tanh x`` is
``2σ(2x) − 1``, which takes a tenth of the time, and is as close as numbers around 1 can be. An LSTM on a CPU has
kernels of its own (`gossipfl.tasks.native_lstm`), where a C++ compiler is found.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional

from gossipfl.tasks.native_lstm import computed, is_native

__all__ = ["gru_layer", "lstm_layer", "plain_layer"]

_sigmoid_backward, _tanh_backward = torch.ops.aten.sigmoid_backward, torch.ops.aten.tanh_backward
_threshold_backward = torch.ops.aten.threshold_backward

Given = Sequence[Any]
Tensors = tuple[Tensor, ...]


class _Cell(ABC):
    """A recurrence over tensors ``[..., steps, samples, units]``; with rows, these are the first dimension.

    Nothing is written in place, of which compilers would make copies of all steps.
    """

    outputs: ClassVar[int] = 1

    @staticmethod
    @abstractmethod
    def found(*given: Any) -> Tensors:  # noqa: ANN401
        """Outputs of all steps, other results, and of each step whatever the gradient needs."""

    @staticmethod
    @abstractmethod
    def differentiated(by: Sequence[Tensor | None], given: Given, found: Given) -> tuple[Tensor | None, ...]:
        """Gradients by what is given, from those by the results."""


class _LSTM(_Cell):
    """Given: gates of the inputs ``[..., 4 units]``, their bias, the state's weights, and the first states.

    All of the third gate are doubled, so that one σ serves all four.
    """

    outputs = 2

    @staticmethod
    def found(*given: Any) -> Tensors:  # noqa: ANN401
        gates, bias, of_state, hidden, cell = given
        kept: list[list[Tensor]] = [[], [], []]
        outputs: list[Tensor] = []
        for now in _biased(gates, bias).unbind(-3):
            active = torch.sigmoid(now + hidden @ of_state.mT)
            entry, forget, new, out = active.chunk(4, dim=-1)
            cell = torch.addcmul(forget * cell, entry, 2 * new - 1)
            squashed = _tanh(cell)
            hidden = out * squashed
            outputs.append(hidden)
            for each, one in zip(kept, (active, cell, squashed), strict=True):
                each.append(one)
        return torch.stack(outputs, dim=-3), cell.clone(), *kept[0], *kept[1], *kept[2]

    @staticmethod
    def differentiated(by: Sequence[Tensor | None], given: Given, found: Given) -> tuple[Tensor | None, ...]:
        gates, bias, of_state, hidden, cell = given
        steps, outputs = gates.shape[-3], found[0]
        active, cells, squashed = (found[2 + k * steps : 2 + (k + 1) * steps] for k in range(3))
        by_outputs = _filled(by[0], outputs).unbind(-3)
        by_cell = _filled(by[1], cell.expand_as(cells[0]))
        by_gates: list[Tensor] = []
        for step in reversed(range(steps)):
            by_hidden = by_outputs[step]
            if by_gates:
                by_hidden = by_hidden + by_gates[-1] @ of_state
            entry, forget, new, out = active[step].chunk(4, dim=-1)
            before = cells[step - 1] if step else cell
            by_cell = by_cell + _tanh_backward(by_hidden * out, squashed[step])
            parts = (
                _sigmoid_backward(by_cell * (2 * new - 1), entry),
                _sigmoid_backward(by_cell * before, forget),
                _sigmoid_backward(2 * by_cell * entry, new),
                _sigmoid_backward(by_hidden * squashed[step], out),
            )
            by_gates.append(torch.cat(parts, dim=-1))
            by_cell = by_cell * forget
        all_steps = torch.stack(by_gates[::-1], dim=-3)
        by_state = _summed(all_steps, _shifted(hidden, outputs))
        return all_steps, _of_bias(all_steps, bias), by_state, by_gates[-1] @ of_state, by_cell


class _GRU(_Cell):
    """Given: gates of the inputs ``[..., 3 units]``, their bias, the state's weights and bias, the first state."""

    @staticmethod
    def found(*given: Any) -> Tensors:  # noqa: ANN401
        gates, bias, of_state, state_bias, hidden = given
        units = hidden.shape[-1]
        kept: list[list[Tensor]] = [[], [], []]
        outputs: list[Tensor] = []
        for now in _biased(gates, bias).unbind(-3):
            seen = hidden @ of_state.mT
            if state_bias is not None:
                seen = seen + state_bias.unsqueeze(-2)
            active = torch.sigmoid(now[..., : 2 * units] + seen[..., : 2 * units])
            reset, update = active.chunk(2, dim=-1)
            candidate = seen[..., 2 * units :]
            new = _tanh(torch.addcmul(now[..., 2 * units :], reset, candidate))
            hidden = torch.lerp(new, hidden, update)
            outputs.append(hidden)
            for each, one in zip(kept, (active, new, candidate.clone()), strict=True):
                each.append(one)
        return torch.stack(outputs, dim=-3), *kept[0], *kept[1], *kept[2]

    @staticmethod
    def differentiated(by: Sequence[Tensor | None], given: Given, found: Given) -> tuple[Tensor | None, ...]:
        gates, bias, of_state, state_bias, hidden = given
        steps, outputs = gates.shape[-3], found[0]
        active, news, candidates = (found[1 + k * steps : 1 + (k + 1) * steps] for k in range(3))
        before = _shifted(hidden, outputs)
        earlier = before.unbind(-3)
        by_outputs = _filled(by[0], outputs).unbind(-3)
        by_seen: list[Tensor] = []
        by_new: list[Tensor] = []
        carried = None
        for step in reversed(range(steps)):
            by_hidden = by_outputs[step]
            if carried is not None:
                by_hidden = by_hidden + carried
            reset, update = active[step].chunk(2, dim=-1)
            new = news[step]
            by_new.append(_tanh_backward(by_hidden - by_hidden * update, new))
            parts = by_new[-1] * candidates[step], by_hidden * (earlier[step] - new)
            by_active = _sigmoid_backward(torch.cat(parts, dim=-1), active[step])
            by_seen.append(torch.cat([by_active, by_new[-1] * reset], dim=-1))
            carried = torch.addcmul(by_seen[-1] @ of_state, by_hidden, update)
        all_seen = torch.stack(by_seen[::-1], dim=-3)
        units = hidden.shape[-1]
        by_gates = torch.cat([all_seen[..., : 2 * units], torch.stack(by_new[::-1], dim=-3)], dim=-1)
        by_state = _summed(all_seen, before)
        return by_gates, _of_bias(by_gates, bias), by_state, _of_bias(all_seen, state_bias), carried


class _Plain(_Cell):
    """Given: gates of the inputs ``[..., units]``, their bias, the state's weights, the first state."""

    @staticmethod
    @abstractmethod
    def activated(gates: Tensor) -> Tensor:
        """Apply the activation."""

    @staticmethod
    @abstractmethod
    def by_gates(by: Tensor, outputs: Tensor) -> Tensor:
        """Gradient by what was activated, from that by the outputs."""

    @classmethod
    def found(cls, *given: Any) -> Tensors:  # noqa: ANN401
        gates, bias, of_state, hidden = given
        outputs: list[Tensor] = []
        for now in _biased(gates, bias).unbind(-3):
            hidden = cls.activated(now + hidden @ of_state.mT)
            outputs.append(hidden)
        return (torch.stack(outputs, dim=-3),)

    @classmethod
    def differentiated(
        cls, by: Sequence[Tensor | None], given: Given, found: Given
    ) -> tuple[Tensor | None, ...]:
        _, bias, of_state, hidden = given
        (outputs,) = found
        by_gates: list[Tensor] = []
        for of_step, output in zip(
            reversed(_filled(by[0], outputs).unbind(-3)), reversed(outputs.unbind(-3)), strict=True
        ):
            by_hidden = of_step + by_gates[-1] @ of_state if by_gates else of_step
            by_gates.append(cls.by_gates(by_hidden, output))
        all_steps = torch.stack(by_gates[::-1], dim=-3)
        by_state = _summed(all_steps, _shifted(hidden, outputs))
        return all_steps, _of_bias(all_steps, bias), by_state, by_gates[-1] @ of_state


class _PlainTanh(_Plain):
    @staticmethod
    def activated(gates: Tensor) -> Tensor:
        return _tanh(gates)

    @staticmethod
    def by_gates(by: Tensor, outputs: Tensor) -> Tensor:
        found: Tensor = _tanh_backward(by, outputs)
        return found


class _PlainReLU(_Plain):
    @staticmethod
    def activated(gates: Tensor) -> Tensor:
        return gates.relu()

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
    if is_native(inputs, first, parameters):
        outputs, cell = computed(inputs, first, parameters, reverse=reverse)
        return outputs, (outputs[0 if reverse else -1], cell)
    of_input, of_state = (_doubled(each) for each in parameters[:2])
    bias = _doubled(parameters[2] + parameters[3]) if has_biases else None
    gates = _gates(inputs, of_input, reverse=reverse)
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


def _doubled(parameter: Tensor) -> Tensor:
    """Parameter of an LSTM with all of its third gate doubled."""
    entry, forget, new, out = parameter.chunk(4)
    return torch.cat([entry, forget, 2 * new, out])


def _gates(inputs: Tensor, weights: Tensor, *, reverse: bool) -> Tensor:
    """What inputs contribute to the gates of all steps, in one product."""
    inputs = inputs.flip(0) if reverse else inputs
    gates = functional.linear(inputs.flatten(0, 1), weights)
    return gates.reshape(*inputs.shape[:2], len(weights))


def _biased(gates: Tensor, bias: Tensor | None) -> Tensor:
    return gates if bias is None else gates + bias.unsqueeze(-2).unsqueeze(-2)


def _tanh(tensor: Tensor) -> Tensor:
    return 2 * torch.sigmoid(2 * tensor) - 1


def _shifted(first: Tensor, states: Tensor) -> Tensor:
    """State before each step."""
    return torch.cat([first.unsqueeze(-3), states[..., :-1, :, :]], dim=-3)


def _filled(by: Tensor | None, like: Tensor) -> Tensor:
    """Gradient; zeros where there is none."""
    return torch.zeros_like(like) if by is None else by


def _of_bias(by_gates: Tensor, bias: Tensor | None) -> Tensor | None:
    return None if bias is None else by_gates.sum(dim=(-3, -2))


def _summed(left: Tensor, right: Tensor) -> Tensor:
    """Sum of outer products over steps and samples."""
    return left.flatten(-3, -2).mT @ right.flatten(-3, -2)
