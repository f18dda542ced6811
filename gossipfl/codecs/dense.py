"""Codecs that send every number of a row, at 32 or 16 bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gossipfl.codecs.payload import (
    DTYPES,
    PayloadTensor,
    TensorSpec,
    payload_of,
    require_admitted,
    tensor_of,
)
from gossipfl.codecs.refusal import require_in_range, require_single_row

__all__ = ["BFLOAT16", "FLOAT16", "FLOAT32", "DenseCodec"]


@dataclass(frozen=True, slots=True)
class DenseCodec:
    """Every number of the row, rounded to one dtype; a payload of one tensor, ``row``.

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
        """Round rows ``[B, P]``; those of float64 too."""
        return rows.to(DTYPES[self.dtype]).to(rows.dtype)

    def payload_bytes(self, size: int) -> int:
        """Four or two bytes a number."""
        return size * DTYPES[self.dtype].itemsize

    def encode(self, row: Tensor, *, key: int = 0) -> tuple[PayloadTensor, ...]:
        """Write a row, float32 of shape [D]: float32 as a view of its memory, 16 bits with one copy.

        Raises
        ------
        NonFiniteUpdate
            The row holds NaN, an infinity, or a number too large for the dtype (65504 for float16).
        UnexpectedTensor
            The row has another dtype or shape.
        """
        require_single_row(row)
        dtype = DTYPES[self.dtype]
        encoded = row.detach().to(dtype)
        most = f"no number beyond ±{torch.finfo(dtype).max:.6g}"
        require_in_range(encoded, row=row, codec=self.name, most=most)
        return (payload_of("row", encoded),)

    def expected(self, size: int) -> tuple[TensorSpec, ...]:
        """Describe the tensors of a valid payload for a row of ``size`` numbers."""
        return (TensorSpec("row", self.dtype, (size,)),)

    def decode(self, tensors: Sequence[PayloadTensor], size: int) -> Tensor:
        """Read a row, float32 of shape [size]: float32 as a view of the payload, 16 bits with one copy.

        Raises
        ------
        UnexpectedTensor
            The payload is not one tensor ``row`` of this dtype with ``size`` elements.
        """
        require_admitted([tensor.header for tensor in tensors], self.expected(size))
        return tensor_of(tensors[0]).to(torch.float32)


FLOAT32 = DenseCodec("float32", "float32-le")
BFLOAT16 = DenseCodec("bfloat16", "bfloat16-le")
FLOAT16 = DenseCodec("float16", "float16-le")
