"""Layer norms without gradients, as an operator of torch (`norms.cpp`)."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import torch
from torch import Tensor

from gossipfl.kernels.building import fields, loaded, source_of

__all__ = ["OPERATOR", "is_available"]

_INTERFACE = """
extern "C" int norms_norm(const norms::Layer* layer) { return norms::norm(*layer); }
"""

_LIBRARY: Any = torch.library.Library("gossipfl", "FRAGMENT")  # type: ignore[no-untyped-call]
_LIBRARY.define("layer_norm(Tensor inputs, Tensor? weights, Tensor? bias, float epsilon) -> Tensor")

#: Of inputs ``[..., width]``, weights and a bias ``[width]``: what `torch.nn.functional.layer_norm` computes over
#: the last dimension.
OPERATOR = torch.ops.gossipfl.layer_norm.default


class _Layer(ctypes.Structure):
    """A layer's inputs, parameters and results, as in the source."""

    _fields_ = [
        *fields("lines width", ctypes.c_int64),
        *fields("inputs weights bias outputs", ctypes.c_void_p),
        ("epsilon", ctypes.c_float),
    ]


@cache
def _library() -> ctypes.CDLL | None:
    source = source_of("norms") + _INTERFACE
    found = loaded("norms", source, otherwise="layer norms are computed by torch's operators")
    if found is not None:
        found.norms_norm.argtypes = [ctypes.POINTER(_Layer)]
    return found


def is_available() -> bool:
    """Whether there is a kernel for this machine; compiles it if it has not been yet."""
    return _library() is not None


def _result(inputs: Tensor) -> Tensor:
    return torch.empty_like(inputs, memory_format=torch.contiguous_format)


def _require_forms(inputs: Tensor, **parameters: Tensor | None) -> None:
    """Require the shapes that the kernel relies on.

    Raises
    ------
    RuntimeError
    """
    for name, tensor in {"inputs": inputs, **parameters}.items():
        shape = inputs.shape if name == "inputs" else inputs.shape[-1:]
        if tensor is not None and (tensor.shape != shape or tensor.dtype != torch.float32):
            got = f"{tuple(tensor.shape)}, {tensor.dtype}"
            raise RuntimeError(f"{name} of a layer norm: expected {tuple(shape)}, float32; got {got}")


def _norm(inputs: Tensor, weights: Tensor | None, bias: Tensor | None, epsilon: float) -> Tensor:
    library = _library()
    if library is None:
        raise RuntimeError(
            "there is no kernel for layer norms on this machine: there is no C++ compiler, or it failed"
        )
    _require_forms(inputs, weights=weights, bias=bias)
    held = [None if each is None else each.contiguous() for each in (inputs, weights, bias)]
    result, width = _result(inputs), inputs.shape[-1]
    lines = inputs.numel() // width if width else 0
    pointers = [None if each is None else each.data_ptr() for each in (*held, result)]
    if not library.norms_norm(_Layer(lines, width, *pointers, epsilon)):
        raise MemoryError("there is no memory left for a layer norm")
    return result


def _form(inputs: Tensor, weights: Tensor | None, bias: Tensor | None, epsilon: float) -> Tensor:
    del weights, bias, epsilon
    return _result(inputs)


_LIBRARY.impl("layer_norm", _norm, "CPU")
torch.library.register_fake("gossipfl::layer_norm", _form, lib=_LIBRARY)
