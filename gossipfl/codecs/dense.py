"""Codecs that send every number of a row, at 32 or 16 bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from gossipfl.codecs.payload import DTYPES, PayloadTensor, TensorSpec, payload_of, tensor_of
from gossipfl.codecs.refusal import require_in_range
from gossipfl.codecs.row_codec import RowCodec

__all__ = ["BFLOAT16", "FLOAT16", "FLOAT32", "DenseCodec"]

_BLOCK: Final = 2**16  # numbers


@dataclass(frozen=True, slots=True)
class DenseCodec(RowCodec):
    """Every number of the row, rounded to one dtype; a payload of one tensor, ``row``.

    Numbers too large for the dtype, such as those above 65504 for float16, are refused.

    Parameters
    ----------
    name : str
        Name in messages.
    dtype : str
        A floating key of `DTYPES`. Rounding is to nearest, ties to even.
    """

    name: str
    dtype: str

    @property
    def unbiased(self) -> bool:
        """False, but for float32: rounding to nearest is not."""
        return self.dtype == "float32-le"

    def contraction(self, size: int) -> float | None:
        """1 − u² with u half a unit in the last place; None for float16, which small numbers underflow."""
        if self.dtype == "float32-le":
            return 1.0
        if self.dtype == "bfloat16-le":
            return 1.0 - float(torch.finfo(torch.bfloat16).eps / 2) ** 2
        return None

    def compress(self, rows: Tensor, *, keys: Tensor) -> Tensor:
        """Round rows ``[B, P]``, all at once; those of float64 too."""
        return self._compressed(rows, keys)

    def _compressed(self, rows: Tensor, keys: Tensor) -> Tensor:
        return rows.to(DTYPES[self.dtype]).to(rows.dtype)

    def payload_bytes(self, size: int) -> int:
        """Four or two bytes a number."""
        return size * DTYPES[self.dtype].itemsize

    def _written(self, row: Tensor, key: int) -> tuple[PayloadTensor, ...]:
        """float32 as a view of the row's memory, 16 bits with one copy."""
        dtype = DTYPES[self.dtype]
        encoded = row.to(dtype)
        most = f"no number beyond ±{torch.finfo(dtype).max:.6g}"
        require_in_range(encoded, row=row, codec=self.name, most=most)
        return (payload_of("row", encoded),)

    def expected(self, size: int) -> tuple[TensorSpec, ...]:
        """Describe the tensors of a valid payload for a row of ``size`` numbers."""
        return (TensorSpec("row", self.dtype, (size,)),)

    def room_bytes(self, size: int) -> int:
        """Bytes that a row takes beyond its payload: with so many before the payload, it is read in place."""
        return size * torch.float32.itemsize - self.payload_bytes(size)

    def expand(self, payload: Tensor, memory: Tensor) -> Tensor:
        """Read a row from a payload that lies behind `room_bytes` bytes in the same memory, and overwrite both.

        No number is overwritten before it is read: those of a block are copied first, and what is written of the
        row is never longer than the room and what was read of the payload.

        Parameters
        ----------
        payload : Tensor, shape [size]
        memory : Tensor, uint8
            From the beginning of the room; aligned for float32.
        """
        size = payload.numel()
        row = memory[: size * torch.float32.itemsize].view(torch.float32)
        for start in range(0, size, _BLOCK):
            row[start : start + _BLOCK] = payload[start : start + _BLOCK].to(torch.float32)
        return row

    def _read(self, tensors: Sequence[PayloadTensor], size: int) -> Tensor:
        """float32 as a view of the payload, 16 bits with one copy."""
        return tensor_of(tensors[0]).to(torch.float32)


FLOAT32 = DenseCodec("float32", "float32-le")
BFLOAT16 = DenseCodec("bfloat16", "bfloat16-le")
FLOAT16 = DenseCodec("float16", "float16-le")
