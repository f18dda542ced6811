"""Rows in buckets, and sums over them that do not depend on the number of rows."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["bucket_count", "bucket_sizes", "in_buckets", "ordered_sum", "out_of_buckets"]


def bucket_count(size: int, bucket: int | None) -> int:
    """How many buckets a row of ``size`` numbers has; one, if it is not divided."""
    return 1 if bucket is None else -(-size // bucket)


def bucket_sizes(size: int, bucket: int | None, *, like: Tensor) -> Tensor:
    """Numbers in each bucket, at least one, shape ``[C]``, of the dtype and on the device of ``like``."""
    full = bucket or max(size, 1)
    sizes = torch.full((bucket_count(size, bucket),), full, dtype=like.dtype, device=like.device)
    if bucket is not None and size % bucket:
        sizes[-1] = size % bucket
    return sizes


def in_buckets(rows: Tensor, bucket: int | None) -> Tensor:
    """Divide rows ``[B, P]`` into buckets ``[B, C, bucket]``, the last one filled up with zeros."""
    if bucket is None:
        return rows[:, None, :]
    missing = -rows.shape[1] % bucket
    padded = torch.nn.functional.pad(rows, (0, missing)) if missing else rows
    return padded.reshape(rows.shape[0], -1, bucket)


def out_of_buckets(buckets: Tensor, size: int) -> Tensor:
    """Join buckets ``[B, C, bucket]`` to rows ``[B, size]``."""
    return buckets.reshape(buckets.shape[0], -1)[:, :size]


def ordered_sum(numbers: Tensor) -> Tensor:
    """Sum over the last dimension, always in the same order, in float64.

    The library's own sum adds in an order that depends on shape and threads: a row would sum to something else
    alone than among others.

    Parameters
    ----------
    numbers : Tensor
        Shape ``[..., n]``.

    Returns
    -------
    Tensor
        Float64 ``[...]``.
    """
    n = numbers.shape[-1]
    if n == 0:
        return numbers.new_zeros(numbers.shape[:-1], dtype=torch.float64)
    width = 1 << (n.bit_length() - 1)
    total = numbers[..., :width].to(torch.float64, copy=True)
    total[..., : n - width] += numbers[..., width:]
    while width > 1:
        width //= 2
        total = total[..., :width] + total[..., width:]
    return total[..., 0]
