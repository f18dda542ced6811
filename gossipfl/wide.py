"""Numbers of 64 bits (and integers of 32) as three numbers of a row each, exactly.

A float32 holds 24 bits: a counter beyond 2²⁴ or a double-precision statistic would be rounded in a row. As three
pieces of 22, 21 and 21 bits it is not, whatever its value.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["DTYPES", "PLACES", "narrowed", "widened"]

#: Dtypes that a float32 does not hold exactly.
DTYPES = (torch.int64, torch.int32, torch.uint64, torch.uint32, torch.float64)
#: Numbers of a row for each.
PLACES = 3
_OF_64_BITS = (torch.float64, torch.uint64)
_BITS = 21
_PIECE = (1 << _BITS) - 1


def widened(numbers: Tensor) -> Tensor:
    """Split numbers of shape ``[..., n]``, of one of `DTYPES`, into pieces ``[..., 3n]``, float32."""
    as_bits = numbers.dtype in _OF_64_BITS
    bits = numbers.contiguous().view(torch.int64) if as_bits else numbers.to(torch.int64)
    pieces = [bits >> 2 * _BITS, (bits >> _BITS) & _PIECE, bits & _PIECE]
    return torch.cat(pieces, dim=-1).to(torch.float32)


def narrowed(pieces: Tensor, dtype: torch.dtype) -> Tensor:
    """Numbers of shape ``[..., n]`` from their pieces ``[..., 3n]``; the inverse of `widened`."""
    high, middle, low = pieces.to(torch.int64).chunk(PLACES, dim=-1)
    bits = (high << 2 * _BITS) | (middle << _BITS) | low
    return bits.view(dtype) if dtype in _OF_64_BITS else bits.to(dtype)
