"""One layer of an LSTM over many rows and all steps, and its gradients, as operators of torch (`lstm.cpp`).

Tensors have the row first: inputs ``[B, steps, samples, width]``, states ``[B, samples, units]``, and parameters
as `torch.nn.LSTM` has them. Each row is computed by itself, so its numbers do not depend on the others. Inputs
that are lines of a table, as an embedding has them, may be given as that, ``[B, entries, 1, width]``, and tokens
``[B, steps, samples]``, int64, where no gradient is asked for: each entry's part of the gates is computed once.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import torch
from torch import Tensor

from gossipfl.kernels.building import fields, loaded, source_of

__all__ = ["OPERATORS", "is_available", "source"]

_INTERFACE = """
extern "C" int lstm_forward(const lstm::Layer* layer) { return lstm::forward(*layer); }
extern "C" int lstm_backward(const lstm::Layer* layer, const lstm::Gradients* by) {
  return lstm::backward(*layer, *by);
}
"""
_KEPT, _PADDED = 5, 16  # as in the source
_NO_MEMORY, _NO_ENTRY = 0, 2

_LIBRARY: Any = torch.library.Library("gossipfl", "FRAGMENT")  # type: ignore[no-untyped-call]
_LIBRARY.define(
    "lstm_layer(Tensor inputs, Tensor of_input, Tensor of_state, Tensor? input_bias, Tensor? state_bias, "
    "Tensor hidden, Tensor cell, bool reverse, bool samples_first, bool keep, Tensor? tokens) "
    "-> (Tensor, Tensor, Tensor)"
)
_LIBRARY.define(
    "lstm_layer_backward(Tensor? by_outputs, Tensor? by_cell, Tensor inputs, Tensor of_input, Tensor of_state, "
    "Tensor hidden, Tensor cell, Tensor outputs, Tensor kept, bool reverse, bool samples_first, bool by_inputs) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)"
)

OPERATORS = torch.ops.gossipfl.lstm_layer.default, torch.ops.gossipfl.lstm_layer_backward.default


class _Layer(ctypes.Structure):
    """A layer, as in the source."""

    _fields_ = [
        *fields("rows steps samples width units reverse", ctypes.c_int64),
        ("inputs", ctypes.c_void_p),
        *fields("inputs_row inputs_step inputs_sample", ctypes.c_int64),
        *(
            field
            for name in ["of_input", "of_state", "input_bias", "state_bias", "hidden", "cell"]
            for field in ((name, ctypes.c_void_p), (f"{name}_row", ctypes.c_int64))
        ),
        ("outputs", ctypes.c_void_p),
        *fields("outputs_step outputs_sample", ctypes.c_int64),
        *fields("last_cell kept tokens", ctypes.c_void_p),
        *fields("tokens_row tokens_step tokens_sample entries", ctypes.c_int64),
    ]


class _Gradients(ctypes.Structure):
    """Gradients of a layer, as in the source."""

    _fields_ = [
        ("by_outputs", ctypes.c_void_p),
        *fields("by_outputs_row by_outputs_step by_outputs_sample", ctypes.c_int64),
        ("by_last_cell", ctypes.c_void_p),
        ("by_last_cell_row", ctypes.c_int64),
        ("by_inputs", ctypes.c_void_p),
        *fields("by_inputs_step by_inputs_sample", ctypes.c_int64),
        *fields("by_of_input by_of_state by_bias by_hidden by_cell", ctypes.c_void_p),
    ]


@cache
def _library() -> ctypes.CDLL | None:
    what = "recurrent layers are computed by torch's operators"
    found = loaded("lstm", source() + _INTERFACE, otherwise=what)
    if found is None:
        return None
    found.lstm_forward.argtypes = [ctypes.POINTER(_Layer)]
    found.lstm_backward.argtypes = [ctypes.POINTER(_Layer), ctypes.POINTER(_Gradients)]
    return found


@cache
def source() -> str:
    """The kernels in C++."""
    return source_of("lstm")


def is_available() -> bool:
    """Whether there are kernels for this machine; compiles them if they have not been yet."""
    return _library() is not None


def _whole(tensor: Tensor | None) -> Tensor | None:
    """Tensor of which at most the row's stride is another than that of contiguous memory."""
    if tensor is None or not len(tensor) or tensor[0].is_contiguous():
        return tensor
    return tensor.contiguous()


def _lines(tensor: Tensor) -> Tensor:
    """Tensor whose last dimension is contiguous."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


def _dense(outputs: Tensor) -> Tensor:
    """Outputs whose rows follow one another in memory."""
    follow = not len(outputs) or outputs.stride(0) == outputs[0].numel()
    return outputs if follow and outputs.stride(-1) == 1 else outputs.contiguous()


def _numbers_like(
    inputs: Tensor, rows: int, steps: int, samples: int, width: int, *, samples_first: bool
) -> Tensor:
    """Room for so many numbers of each step and sample, of which one or the other comes first in memory."""
    if samples_first:
        return inputs.new_empty(rows, samples, steps, width).transpose(1, 2)
    return inputs.new_empty(rows, steps, samples, width)


def _results(
    inputs: Tensor, of_state: Tensor, cell: Tensor, tokens: Tensor | None, *, samples_first: bool, keep: bool
) -> tuple[Tensor, Tensor, Tensor]:
    rows, steps, samples = inputs.shape[:3] if tokens is None else tokens.shape
    units = of_state.shape[-1]
    outputs = _numbers_like(inputs, rows, steps, samples, units, samples_first=samples_first)
    kept = inputs.new_empty(rows, _kept_numbers(steps, samples, units) if keep else 0)
    return outputs, inputs.new_empty(cell.shape), kept


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _layer(
    inputs: Tensor,
    *,
    reverse: bool,
    outputs: Tensor,
    last_cell: Tensor | None,
    kept: Tensor,
    tokens: Tensor | None = None,
    **parameters: Tensor | None,
) -> _Layer:
    """The kernels' view of tensors, which have to stay."""
    layer = _Layer(*outputs.shape[:3], inputs.shape[-1], outputs.shape[-1], reverse)
    if tokens is not None:
        layer.entries, layer.tokens = inputs.shape[1], tokens.data_ptr()
        layer.tokens_row, layer.tokens_step, layer.tokens_sample = tokens.stride()
    _require_forms(layer, inputs=inputs, outputs=outputs, **parameters)
    layer.inputs = inputs.data_ptr()
    layer.inputs_row, layer.inputs_step, layer.inputs_sample = inputs.stride()[:3]
    for name, tensor in parameters.items():
        if tensor is not None:
            setattr(layer, name, tensor.data_ptr())
            setattr(layer, f"{name}_row", tensor.stride(0))
    layer.outputs = outputs.data_ptr()
    layer.outputs_step, layer.outputs_sample = outputs.stride()[1:3]
    layer.last_cell, layer.kept = _pointer(last_cell), kept.data_ptr() if kept.numel() else None
    return layer


def _require_forms(layer: _Layer, **given: Tensor | None) -> None:
    """Require the shapes that the kernels rely on.

    Raises
    ------
    RuntimeError
    """
    gates, states = 4 * layer.units, (layer.rows, layer.samples, layer.units)
    states_of_step = layer.steps, layer.samples
    outputs = (layer.rows, layer.steps, *states[1:])
    expected = {
        "inputs": (layer.rows, *((layer.entries, 1) if layer.tokens else states_of_step), layer.width),
        "of_input": (layer.rows, gates, layer.width),
        "of_state": (layer.rows, gates, layer.units),
        "input_bias": (layer.rows, gates),
        "state_bias": (layer.rows, gates),
        "hidden": states,
        "cell": states,
        "outputs": outputs,
        "by_outputs": outputs,
        "by_cell": states,
        "kept": (layer.rows, _kept_numbers(layer.steps, layer.samples, layer.units)),
    }
    for name, tensor in given.items():
        if tensor is not None and (tensor.shape != expected[name] or tensor.dtype != torch.float32):
            raise RuntimeError(
                f"{name} of an LSTM: expected {expected[name]}, float32; got {tuple(tensor.shape)}, {tensor.dtype}"
            )


def _kept_numbers(steps: int, samples: int, units: int) -> int:
    return steps * samples * _KEPT * (-(-units // _PADDED) * _PADDED)


def _checked(code: int) -> None:
    if code == _NO_MEMORY:
        raise MemoryError("there is no memory left for an LSTM's states")
    if code == _NO_ENTRY:
        raise IndexError("tokens of an LSTM: expected places of entries; got another")


def _found() -> ctypes.CDLL:
    library = _library()
    if library is None:
        raise RuntimeError(
            "there are no kernels for an LSTM on this machine: there is no C++ compiler, or it failed"
        )
    return library


def _forward(  # noqa: PLR0917 - torch calls it
    inputs: Tensor,
    of_input: Tensor,
    of_state: Tensor,
    input_bias: Tensor | None,
    state_bias: Tensor | None,
    hidden: Tensor,
    cell: Tensor,
    reverse: bool,  # noqa: FBT001
    samples_first: bool,  # noqa: FBT001
    keep: bool,  # noqa: FBT001
    tokens: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    if tokens is not None and (keep or tokens.dim() != 3 or tokens.dtype != torch.int64):
        raise RuntimeError("tokens of an LSTM: expected [B, steps, samples], int64, and no gradient")
    outputs, last_cell, kept = _results(
        inputs, of_state, cell, tokens, samples_first=samples_first, keep=keep
    )
    inputs = _lines(inputs)
    parameters = {
        "of_input": _whole(of_input),
        "of_state": _whole(of_state),
        "input_bias": _whole(input_bias),
        "state_bias": _whole(state_bias),
        "hidden": _whole(hidden),
        "cell": _whole(cell),
    }
    if (input_bias is None) != (state_bias is None):
        raise RuntimeError("biases of an LSTM: expected both or neither; got one")
    layer = _layer(
        inputs, reverse=reverse, outputs=outputs, last_cell=last_cell, kept=kept, tokens=tokens, **parameters
    )
    _checked(_found().lstm_forward(layer))
    return outputs, last_cell, kept


def _slopes(
    inputs: Tensor, of_input: Tensor, of_state: Tensor, cell: Tensor, *, samples_first: bool, by_inputs: bool
) -> tuple[Tensor, ...]:
    return (
        _numbers_like(inputs, *inputs.shape, samples_first=samples_first)
        if by_inputs
        else inputs.new_empty(0),
        inputs.new_empty(of_input.shape),
        inputs.new_empty(of_state.shape),
        inputs.new_empty(of_state.shape[:2]),
        inputs.new_empty(cell.shape),
        inputs.new_empty(cell.shape),
    )


def _backward(  # noqa: PLR0917 - torch calls it
    by_outputs: Tensor | None,
    by_cell: Tensor | None,
    inputs: Tensor,
    of_input: Tensor,
    of_state: Tensor,
    hidden: Tensor,
    cell: Tensor,
    outputs: Tensor,
    kept: Tensor,
    reverse: bool,  # noqa: FBT001
    samples_first: bool,  # noqa: FBT001
    by_inputs: bool,  # noqa: FBT001
) -> tuple[Tensor, ...]:
    found = _slopes(inputs, of_input, of_state, cell, samples_first=samples_first, by_inputs=by_inputs)
    inputs, outputs, kept = _lines(inputs), _dense(outputs), kept.contiguous()
    parameters = {
        "of_input": _whole(of_input),
        "of_state": _whole(of_state),
        "hidden": _whole(hidden),
        "cell": _whole(cell),
    }
    layer = _layer(inputs, reverse=reverse, outputs=outputs, last_cell=None, kept=kept, **parameters)
    _require_forms(layer, by_outputs=by_outputs, by_cell=by_cell, kept=kept)
    by = _Gradients()
    if by_outputs is not None:
        by_outputs = _lines(by_outputs)
        by.by_outputs = by_outputs.data_ptr()
        by.by_outputs_row, by.by_outputs_step, by.by_outputs_sample = by_outputs.stride()[:3]
    if by_cell is not None:
        by_cell = by_cell.contiguous()
        by.by_last_cell, by.by_last_cell_row = by_cell.data_ptr(), by_cell.stride(0)
    if by_inputs:
        by.by_inputs = found[0].data_ptr()
        by.by_inputs_step, by.by_inputs_sample = found[0].stride()[1:3]
    by.by_of_input, by.by_of_state, by.by_bias, by.by_hidden, by.by_cell = map(Tensor.data_ptr, found[1:])
    _checked(_found().lstm_backward(layer, by))
    return found


def _forward_form(*given: Any) -> tuple[Tensor, ...]:  # noqa: ANN401
    inputs, of_state, cell, samples_first, keep, tokens = (given[place] for place in (0, 2, 6, 8, 9, 10))
    return _results(inputs, of_state, cell, tokens, samples_first=samples_first, keep=keep)


def _backward_form(*given: Any) -> tuple[Tensor, ...]:  # noqa: ANN401
    inputs, of_input, of_state, cell = given[2], given[3], given[4], given[6]
    return _slopes(inputs, of_input, of_state, cell, samples_first=given[10], by_inputs=given[11])


_LIBRARY.impl("lstm_layer", _forward, "CPU")
_LIBRARY.impl("lstm_layer_backward", _backward, "CPU")
torch.library.register_fake("gossipfl::lstm_layer", _forward_form, lib=_LIBRARY)
torch.library.register_fake("gossipfl::lstm_layer_backward", _backward_form, lib=_LIBRARY)
