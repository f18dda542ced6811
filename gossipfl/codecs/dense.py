"""Codecs that send every number of a row, at 32 or 16 bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gossipfl.codecs.finite import is_finite
from gossipfl.codecs.payload import (
    DTYPES,
    PayloadTensor,
    TensorSpec,
    payload_of,
    require_admitted,
    tensor_of,
)
from gossipfl.errors import NonFiniteUpdate, UnexpectedTensor

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

    def encode(self, row: Tensor) -> tuple[PayloadTensor, ...]:
        """Write a row, float32 of shape [D]: float32 as a view of its memory, 16 bits with one copy.

        Raises
        ------
        NonFiniteUpdate
            The row holds NaN, an infinity, or a number too large for the dtype (65504 for float16).
        UnexpectedTensor
            The row has another dtype or shape.
        """
        if row.dtype != torch.float32 or row.dim() != 1:
            came = f"{row.dtype} {list(row.shape)}"
            raise UnexpectedTensor("only a single row can be encoded", expected="float32 [D]", came=came)
        encoded = row.detach().to(DTYPES[self.dtype])
        if not is_finite(encoded):
            raise self._refusal(row)
        return (payload_of("row", encoded),)

    def expected(self, size: int) -> tuple[TensorSpec, ...]:
        """Say what a valid payload for a row of ``size`` numbers holds."""
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

    def _refusal(self, row: Tensor) -> NonFiniteUpdate:
        if is_finite(row):
            return NonFiniteUpdate(
                f"the row does not fit into {self.name}",
                expected=f"no number beyond ±{torch.finfo(DTYPES[self.dtype]).max:.6g}",
                came=f"{row.abs().max().item():.6g}",
                remedy="Use the codec bfloat16, which has the range of float32, or float32.",
            )
        return NonFiniteUpdate(
            "the row to be sent holds NaN or an infinity",
            remedy="Training has diverged: lower the learning rate or clip gradients.",
        )


FLOAT32 = DenseCodec("float32", "float32-le")
BFLOAT16 = DenseCodec("bfloat16", "bfloat16-le")
FLOAT16 = DenseCodec("float16", "float16-le")
