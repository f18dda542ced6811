"""Ends of classifiers over many rows, of which no score is held, as an operator of torch (`scores.cpp`)."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import torch
from torch import Tensor

from gossipfl.kernels.building import fields, loaded, source_of

__all__ = ["OPERATOR", "is_available", "source"]

_INTERFACE = """
extern "C" int scores_at_targets(const scores::Layer* layer) { return scores::at_targets(*layer); }
"""
_NO_MEMORY, _NO_CLASS = 0, 2  # as in the source

_LIBRARY: Any = torch.library.Library("gossipfl", "FRAGMENT")  # type: ignore[no-untyped-call]
_LIBRARY.define(
    "scores_at_targets(Tensor inputs, Tensor weights, Tensor? bias, Tensor targets, int ignored) "
    "-> (Tensor, Tensor)"
)

#: Of inputs ``[B, lines, width]``, weights ``[B, classes, width]``, a bias ``[B, classes]`` and classes
#: ``[B, lines]``, int64: the logarithm of softmax at each line's class, 0 where that is ignored, and its largest
#: score's class, as argmax has it.
OPERATOR = torch.ops.gossipfl.scores_at_targets.default


class _Layer(ctypes.Structure):
    """A layer and what its scores are compared with, as in the source."""

    _fields_ = [
        *fields("rows lines width classes", ctypes.c_int64),
        ("inputs", ctypes.c_void_p),
        *fields("inputs_row inputs_line inputs_number", ctypes.c_int64),
        ("weights", ctypes.c_void_p),
        *fields("weights_row weights_class weights_number", ctypes.c_int64),
        ("bias", ctypes.c_void_p),
        *fields("bias_row bias_class", ctypes.c_int64),
        ("targets", ctypes.c_void_p),
        *fields("targets_row targets_line ignored", ctypes.c_int64),
        *fields("logarithms largest", ctypes.c_void_p),
    ]


@cache
def _library() -> ctypes.CDLL | None:
    found = loaded("scores", source() + _INTERFACE, otherwise="scores are computed by torch's operators")
    if found is not None:
        found.scores_at_targets.argtypes = [ctypes.POINTER(_Layer)]
    return found


@cache
def source() -> str:
    """The kernels in C++."""
    return source_of("scores")


def is_available() -> bool:
    """Whether there are kernels for this machine; compiles them if they have not been yet."""
    return _library() is not None


def _results(inputs: Tensor) -> tuple[Tensor, Tensor]:
    shape = inputs.shape[:2]
    return inputs.new_empty(shape), inputs.new_empty(shape, dtype=torch.int64)


def _require_forms(inputs: Tensor, weights: Tensor, bias: Tensor | None, targets: Tensor) -> None:
    """Require the shapes that the kernels rely on.

    Raises
    ------
    RuntimeError
    """
    (rows, lines, width), classes = inputs.shape, weights.shape[1]
    expected = {
        "inputs": (inputs, (rows, lines, width), torch.float32),
        "weights": (weights, (rows, classes, width), torch.float32),
        "bias": (bias, (rows, classes), torch.float32),
        "targets": (targets, (rows, lines), torch.int64),
    }
    for name, (tensor, shape, dtype) in expected.items():
        if tensor is not None and (tensor.shape != shape or tensor.dtype != dtype):
            raise RuntimeError(
                f"{name} of scores: expected {shape}, {dtype}; got {tuple(tensor.shape)}, {tensor.dtype}"
            )


def _at_targets(
    inputs: Tensor, weights: Tensor, bias: Tensor | None, targets: Tensor, ignored: int
) -> tuple[Tensor, Tensor]:
    library = _library()
    if library is None:
        raise RuntimeError(
            "there are no kernels for scores on this machine: there is no C++ compiler, or it failed"
        )
    _require_forms(inputs, weights, bias, targets)
    logarithms, largest = _results(inputs)
    layer = _Layer(*inputs.shape, weights.shape[1], inputs.data_ptr(), *inputs.stride())
    layer.weights = weights.data_ptr()
    layer.weights_row, layer.weights_class, layer.weights_number = weights.stride()
    if bias is not None:
        layer.bias, (layer.bias_row, layer.bias_class) = bias.data_ptr(), bias.stride()
    layer.targets, (layer.targets_row, layer.targets_line) = targets.data_ptr(), targets.stride()
    layer.ignored, layer.logarithms, layer.largest = ignored, logarithms.data_ptr(), largest.data_ptr()
    outcome = library.scores_at_targets(layer)
    if outcome == _NO_CLASS:
        raise IndexError(
            f"a target is no class: expected 0 … {weights.shape[1] - 1}, or {ignored} to ignore; got "
            f"{int(targets.min())} … {int(targets.max())}"
        )
    if outcome == _NO_MEMORY:
        raise MemoryError("there is no memory left for some lines' scores")
    return logarithms, largest


def _form(
    inputs: Tensor, weights: Tensor, bias: Tensor | None, targets: Tensor, ignored: int
) -> tuple[Tensor, Tensor]:
    del weights, bias, targets, ignored
    return _results(inputs)


_LIBRARY.impl("scores_at_targets", _at_targets, "CPU")
torch.library.register_fake("gossipfl::scores_at_targets", _form, lib=_LIBRARY)
