"""Attention over few steps without gradients, as an operator of torch (`attention.cpp`)."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import torch
from torch import Tensor

from gossipfl.kernels.building import fields, loaded, source_of

__all__ = ["OPERATOR", "is_available"]

_INTERFACE = """
extern "C" int attention_attend(const attention::Layer* layer) { return attention::attend(*layer); }
"""

_LIBRARY: Any = torch.library.Library("gossipfl", "FRAGMENT")  # type: ignore[no-untyped-call]
_LIBRARY.define(
    "short_attention(Tensor query, Tensor key, Tensor value, float scale, bool is_causal) -> Tensor"
)

#: Of queries ``[samples, heads, steps, width]``, keys ``[samples, heads, keys, width]`` and values ``[samples,
#: heads, keys, any width]``: softmax of scaled scores, times values, in the queries' order of memory.
OPERATOR = torch.ops.gossipfl.short_attention.default


class _Layer(ctypes.Structure):
    """Queries, keys, values and what becomes of them, as in the source."""

    _fields_ = [
        *fields("samples heads queries keys width values_width is_causal", ctypes.c_int64),
        *(
            field
            for name in ("query", "key", "value", "result")
            for field in (
                (name, ctypes.c_void_p),
                *fields(f"{name}_sample {name}_head {name}_step", ctypes.c_int64),
            )
        ),
        ("scale", ctypes.c_float),
    ]


@cache
def _library() -> ctypes.CDLL | None:
    source = source_of("attention") + _INTERFACE
    found = loaded("attention", source, otherwise="attention is computed by torch's operators")
    if found is not None:
        found.attention_attend.argtypes = [ctypes.POINTER(_Layer)]
    return found


def is_available() -> bool:
    """Whether there is a kernel for this machine; compiles it if it has not been yet."""
    return _library() is not None


def _result(query: Tensor, value: Tensor) -> Tensor:
    """Room for results in the queries' order of memory, as torch's own operator has them."""
    order = [*sorted(range(3), key=query.stride().__getitem__, reverse=True), 3]
    shape = *query.shape[:3], value.shape[3]
    return query.new_empty([shape[d] for d in order]).permute([order.index(d) for d in range(4)])


def _require_forms(query: Tensor, key: Tensor, value: Tensor) -> None:
    """Require the shapes that the kernel relies on.

    Raises
    ------
    RuntimeError
    """
    samples, heads, _, width = query.shape
    keys, out = key.shape[2], value.shape[3]
    expected = {
        "queries": (query, (*query.shape[:3], width)),
        "keys": (key, (samples, heads, keys, width)),
        "values": (value, (samples, heads, keys, out)),
    }
    for name, (tensor, shape) in expected.items():
        if tensor.shape != shape or tensor.dtype != torch.float32:
            raise RuntimeError(
                f"{name} of attention: expected {shape}, float32; got {tuple(tensor.shape)}, {tensor.dtype}"
            )


def _attend(query: Tensor, key: Tensor, value: Tensor, scale: float, is_causal: bool) -> Tensor:  # noqa: FBT001
    library = _library()
    if library is None:
        raise RuntimeError(
            "there is no kernel for attention on this machine: there is no C++ compiler, or it failed"
        )
    _require_forms(query, key, value)
    result = _result(query, value)
    layer = _Layer(*query.shape[:2], query.shape[2], key.shape[2], query.shape[3], value.shape[3], is_causal)
    given = {"query": query, "key": key, "value": value, "result": result}
    held = {name: each if each.stride(3) == 1 else each.contiguous() for name, each in given.items()}
    for name, tensor in held.items():
        setattr(layer, name, tensor.data_ptr())
        for dimension, place in enumerate(("sample", "head", "step")):
            setattr(layer, f"{name}_{place}", tensor.stride(dimension))
    layer.scale = scale
    if not library.attention_attend(layer):
        raise MemoryError("there is no memory left for some steps' attention")
    return result


def _form(query: Tensor, key: Tensor, value: Tensor, scale: float, is_causal: bool) -> Tensor:  # noqa: FBT001
    del key, scale, is_causal
    return _result(query, value)


_LIBRARY.impl("short_attention", _attend, "CPU")
torch.library.register_fake("gossipfl::short_attention", _form, lib=_LIBRARY)
