"""Tensors that a row can hold: real numbers on the CPU, each in memory of its own."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gossipfl.errors import InvalidTask

__all__ = ["require_memory_of_their_own", "require_representable"]


def require_representable(name: str, tensor: Tensor) -> None:
    """Require that the numbers of a parameter or buffer can be copied into a row, and out of it.

    Raises
    ------
    InvalidTask
        If it is lazy, complex, sparse, quantised or on another device.
    """
    if nn.parameter.is_lazy(tensor):
        raise InvalidTask(
            f"{name} has no shape yet",
            expected="a module whose parameters are all initialised",
            got="a lazy module",
            remedy="Run one sample through the module in its factory, or state the sizes.",
        )
    if tensor.is_complex():
        raise InvalidTask(
            f"{name} is complex", expected="real numbers", got=tensor.dtype, remedy="Use view_as_real."
        )
    if tensor.device.type != "cpu":
        raise InvalidTask(
            f"{name} is not in the memory of the CPU",
            expected="a module made on the CPU, from where the runtime moves what it needs",
            got=f"device {tensor.device}",
        )
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested:
        raise InvalidTask(
            f"{name} is not a dense tensor of plain numbers",
            expected="torch.strided, neither quantised nor nested",
            got=f"{tensor.layout}, {tensor.dtype}",
            remedy="Register .to_dense() or .dequantize() of it.",
        )


def require_memory_of_their_own(tensors: Sequence[tuple[str, Tensor]]) -> None:
    """Require that no two numbers of parameters and buffers are the same number in memory.

    One tensor under several names is one tensor; two views of the same memory are not.

    Raises
    ------
    InvalidTask
        With the names of both.
    """
    by_storage: dict[int, list[tuple[str, Tensor]]] = {}
    for name, tensor in tensors:
        if tensor.numel():
            by_storage.setdefault(tensor.untyped_storage().data_ptr(), []).append((name, tensor))
    for found in by_storage.values():
        if len(found) == 1 and found[0][1].is_contiguous():
            continue
        places = [(name, _places(tensor)) for name, tensor in found]
        together = torch.cat([each for _, each in places])
        if _distinct(together) == together.numel():
            continue
        for name, each in places:
            if _distinct(each) < each.numel():
                raise _overlap(f"{name} holds one number in several places")
        (one, _), (other, _) = next(
            pair for pair in itertools.combinations(places, 2) if torch.isin(pair[0][1], pair[1][1]).any()
        )
        raise _overlap(f"{one} and {other} lie in the same memory")


def _places(tensor: Tensor) -> Tensor:
    """Where in its storage each number of a tensor begins: bytes, int64 ``[n]``."""
    size = tensor.element_size()
    places = torch.tensor(tensor.storage_offset() * size)
    for length, stride in zip(tensor.shape, tensor.stride(), strict=True):
        places = places.unsqueeze(-1) + torch.arange(length) * stride * size
    return places.reshape(-1)


def _distinct(places: Tensor) -> int:
    found: Tensor = torch.unique(places)
    return found.numel()


def _overlap(what: str) -> InvalidTask:
    return InvalidTask(
        what,
        expected="parameters and buffers that change independently of each other",
        remedy="Register clones; to tie parameters, assign the same nn.Parameter to both names.",
    )
