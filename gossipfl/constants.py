"""Constants of a module: everything it holds besides the numbers of its row."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gossipfl.layout import Layout

__all__ = ["Constants", "constants_of", "difference", "digest"]

#: By name: tensors (copies), numbers, strings, and lengths of lists.
Constants = Mapping[str, Any]
_INTERNAL = frozenset(vars(nn.Module())) | {"_is_hf_initialized"}
_NESTED = 4


def constants_of(module: nn.Module, layout: Layout) -> Constants:
    """Collect buffers that are not persistent, and attributes that are tensors, arrays, modules or plain values.

    Views of a parameter or buffer of the row are left out: they are not constants.
    """
    in_rows = {entry.name for entry in layout.entries}
    named = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    storages = {named[name].untyped_storage().data_ptr() for name in in_rows if named[name].numel()}
    found: dict[str, Any] = {}

    def is_constant(tensor: Tensor) -> bool:
        if torch._C._functorch.is_functorch_wrapped_tensor(tensor) or not tensor.numel():
            return False
        if tensor.layout != torch.strided:
            return True
        return tensor.untyped_storage().data_ptr() not in storages

    for name, buffer in named.items():
        if name not in in_rows and not isinstance(buffer, nn.Parameter):
            found[name] = buffer.detach().clone()
    for path, child in module.named_modules():
        own = {key: value for key, value in vars(child).items() if key not in _INTERNAL}
        _collect(own, path, found, is_constant, _NESTED)
    return found


def _collect(
    value: Any,  # noqa: ANN401
    name: str,
    found: dict[str, Any],
    is_constant: Callable[[Tensor], bool],
    depth: int,
) -> None:
    if isinstance(value, Tensor):
        if is_constant(value):
            found[name] = value.detach().clone()
    elif isinstance(value, nn.Module):  # in a plain list, say: not registered, unless it is elsewhere
        for each, tensor in (*value.named_parameters(), *value.named_buffers()):
            _collect(tensor, f"{name}.{each}", found, is_constant, depth)
    elif isinstance(value, np.ndarray):
        found[name] = value.copy()
    elif isinstance(value, bool | int | float | complex | str | np.generic | None):
        found[name] = value
    elif isinstance(value, list | tuple | dict) and depth:
        found[f"{name}.len"] = len(value)
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, each in list(pairs):
            _collect(each, f"{name}.{key}".lstrip("."), found, is_constant, depth - 1)
    elif (
        depth
        and hasattr(value, "__dict__")
        and not isinstance(value, type | nn.Module)
        and not callable(value)
    ):
        _collect(dict(vars(value)), name, found, is_constant, depth - 1)


def difference(first: Constants, second: Constants) -> str | None:
    """Name of a constant in which the two differ; None if they agree."""
    for name in sorted(first.keys() | second.keys()):
        if name not in first or name not in second or not _same(first[name], second[name]):
            return name
    return None


def _same(first: Any, second: Any) -> bool:  # noqa: ANN401
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        if first.layout != torch.strided:
            first, second = first.to_dense(), second.to_dense()
        return first.shape == second.shape and first.dtype == second.dtype and _equal(first, second)
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return (
            first.shape == second.shape
            and first.dtype == second.dtype
            and first.tobytes() == second.tobytes()
        )
    return type(first) is type(second) and (first == second or (first != first and second != second))  # noqa: PLR0124 - NaN


def _equal(first: Tensor, second: Tensor) -> bool:
    return torch.equal(first, second) or bool(((first == second) | (first.isnan() & second.isnan())).all())


def digest(constants: Constants) -> bytes:
    """SHA-256 (32 bytes) over names, forms and numbers of the tensors and arrays among constants."""
    whole = hashlib.sha256()
    for name in sorted(constants):
        value = constants[name]
        if isinstance(value, np.ndarray):
            whole.update(f"{name}/{value.shape}/{value.dtype}".encode() + value.tobytes())
        elif isinstance(value, Tensor):
            dense = value.to_dense() if value.layout != torch.strided else value
            whole.update(f"{name}/{tuple(dense.shape)}/{dense.dtype}".encode() + _bytes(dense))
    return whole.digest()


def _bytes(tensor: Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
