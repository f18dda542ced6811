"""Selection of a row's numbers that are sent: chosen, counted, written and read."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from gossipfl.codecs.bits import pack, packed_bytes, unpack, width_of
from gossipfl.codecs.payload import PayloadTensor, TensorSpec, payload_of, tensor_of
from gossipfl.errors import SettingError, UnexpectedTensor

__all__ = [
    "chosen_bytes",
    "chosen_count",
    "chosen_spec",
    "largest",
    "read_chosen",
    "require_share",
    "write_chosen",
]


def require_share(share: float) -> None:
    """Require a count of at least 1, or a fraction above 0 and at most 1.

    Raises
    ------
    SettingError
    """
    if isinstance(share, int) and not isinstance(share, bool):
        valid = share >= 1
    else:
        valid = isinstance(share, float) and math.isfinite(share) and 0 < share <= 1
    if not valid:
        expected = "a count such as 20, or a fraction such as 0.01"
        raise SettingError("the share of a row's numbers is out of range", expected=expected, got=repr(share))


def chosen_count(share: float, size: int) -> int:
    """How many of ``size`` numbers are sent: ``share`` itself, or the nearest to that fraction; at least one."""
    count = share if isinstance(share, int) else round(share * size)
    return min(max(1, count), size)


def largest(numbers: Tensor, count: int) -> Tensor:
    """Mark the ``count`` largest numbers of each row; of equal ones those with lower indices.

    Parameters
    ----------
    numbers : Tensor
        Shape ``[B, P]``, any ordered dtype. NaN counts as largest.

    Returns
    -------
    Tensor
        Bool ``[B, P]``; each row has ``count`` marks, and one more for every NaN beyond that.
    """
    size = numbers.shape[1]
    if count >= size:
        return torch.ones_like(numbers, dtype=torch.bool)
    threshold = _kth_largest(numbers, count)[:, None]
    marked = ~(numbers < threshold)
    if bool((marked.sum(dim=1) == count).all()):
        return marked
    above = ~(numbers <= threshold)
    level = numbers == threshold
    wanted = count - above.sum(dim=1, keepdim=True)
    return above | (level & (level.cumsum(dim=1) <= wanted))


def _kth_largest(numbers: Tensor, count: int) -> Tensor:
    if numbers.device.type == "cpu" and count > 64:
        place = numbers.shape[1] - count
        return torch.from_numpy(np.partition(numbers.numpy(), place, axis=1)[:, place].copy())
    return numbers.topk(count, dim=1).values[:, -1]


def chosen_bytes(count: int, size: int) -> int:
    """Bytes that encode which ``count`` of ``size`` numbers were chosen."""
    return min(_index_bytes(count, size), packed_bytes(size, 1))


def chosen_spec(count: int, size: int) -> TensorSpec:
    """Describe the tensor that holds the choice."""
    if _as_bitmap(count, size):
        return TensorSpec("bitmap", "uint8", (packed_bytes(size, 1),))
    return TensorSpec("indices", "uint8", (_index_bytes(count, size),))


def write_chosen(chosen: Tensor) -> PayloadTensor:
    """Write a choice, bool ``[size]``: ascending indices, or a bitmap where that is smaller."""
    size, count = len(chosen), int(chosen.sum())
    if _as_bitmap(count, size):
        return payload_of("bitmap", pack(chosen.to(torch.uint8), 1))
    return payload_of("indices", pack(chosen.nonzero()[:, 0], _index_width(size)))


def read_chosen(payload: PayloadTensor, count: int, size: int) -> Tensor:
    """Read a choice: bool ``[size]``, or ``count`` indices, int64.

    Raises
    ------
    UnexpectedTensor
        Indices do not ascend, or are out of range; a bitmap marks more or fewer than ``count``.
    """
    packed = tensor_of(payload)
    if _as_bitmap(count, size):
        chosen = unpack(packed, size, 1).to(torch.bool)
        if int(chosen.sum()) != count:
            raise UnexpectedTensor("the bitmap marks others", expected=count, got=int(chosen.sum()))
        return chosen
    indices = unpack(packed, count, _index_width(size)).to(torch.int64)
    if count and int(indices[-1]) >= size:
        raise UnexpectedTensor("an index is out of range", expected=f"0 to {size - 1}", got=int(indices[-1]))
    if bool((indices[1:] <= indices[:-1]).any()):
        raise UnexpectedTensor("the indices do not ascend", expected="each greater than the one before it")
    return indices


def _index_width(size: int) -> int:
    return width_of(max(size - 1, 0))


def _index_bytes(count: int, size: int) -> int:
    return packed_bytes(count, _index_width(size))


def _as_bitmap(count: int, size: int) -> bool:
    return packed_bytes(size, 1) < _index_bytes(count, size)
