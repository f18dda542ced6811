"""Codecs that send every number of a row as one of a few levels of a bucket's scale.

What they share: a row is divided into buckets (the last one may be shorter), each bucket has a scale, and each
number a symbol. The payload is ``scales`` (float32, one a bucket) and ``levels`` (the symbols, packed at the
fewest bits that all of them fit into).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gossipfl.codecs.bits import pack, packed_bytes, unpack, width_of
from gossipfl.codecs.buckets import bucket_count, in_buckets, out_of_buckets
from gossipfl.codecs.payload import PayloadTensor, TensorSpec, payload_of, tensor_of
from gossipfl.codecs.refusal import is_finite, require_in_range
from gossipfl.codecs.row_codec import RowCodec
from gossipfl.errors import SettingError, UnexpectedTensor

__all__ = ["BucketCodec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketCodec(RowCodec):
    """Base of codecs with a scale for each bucket.

    Parameters
    ----------
    bucket : int, optional
        Numbers that share a scale; by default all of a row.

    Raises
    ------
    SettingError
        A bucket would be empty.
    """

    bucket: int | None = None

    def __post_init__(self) -> None:
        if self.bucket is not None and self.bucket < 1:
            raise SettingError("a bucket holds nothing", expected="bucket >= 1", got=self.bucket)

    @property
    @abstractmethod
    def name(self) -> str:
        """Name in messages."""

    @property
    @abstractmethod
    def largest_symbol(self) -> int:
        """The symbols are 0 to this."""

    @abstractmethod
    def symbols(self, buckets: Tensor, *, size: int, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Symbols (integers ``[B, C, n]``) and scales (``[B, C]``) of buckets ``[B, C, n]``."""

    @abstractmethod
    def values(self, symbols: Tensor, scales: Tensor, *, size: int) -> Tensor:
        """Numbers ``[B, C, n]`` that symbols and scales stand for, of the dtype of the scales."""

    def _compressed(self, rows: Tensor, keys: Tensor) -> Tensor:
        size = rows.shape[1]
        symbols, scales = self.symbols(in_buckets(rows, self.bucket), size=size, keys=keys)
        return out_of_buckets(self.values(symbols, scales, size=size), size)

    def payload_bytes(self, size: int) -> int:
        """Bytes of scales and packed symbols of a row of ``size`` numbers."""
        width = width_of(self.largest_symbol)
        return 4 * bucket_count(size, self.bucket) + packed_bytes(size, width)

    def expected(self, size: int) -> tuple[TensorSpec, ...]:
        """Describe the tensors of a valid payload for a row of ``size`` numbers."""
        packed = packed_bytes(size, width_of(self.largest_symbol))
        return (
            TensorSpec("scales", "float32-le", (bucket_count(size, self.bucket),)),
            TensorSpec("levels", "uint8", (packed,)),
        )

    def _written(self, row: Tensor, key: int) -> tuple[PayloadTensor, ...]:
        keys = torch.tensor([key], dtype=torch.int64, device=row.device)
        symbols, scales = self.symbols(in_buckets(row[None], self.bucket), size=len(row), keys=keys)
        most = "norms within the range of float32"
        require_in_range(scales, row=row, codec=self.name, most=most)
        packed = pack(out_of_buckets(symbols, len(row))[0], width_of(self.largest_symbol))
        return payload_of("scales", scales[0]), payload_of("levels", packed)

    def _read(self, tensors: Sequence[PayloadTensor], size: int) -> Tensor:
        scales, packed = (tensor_of(tensor) for tensor in tensors)
        symbols = unpack(packed, size, width_of(self.largest_symbol))
        self._require_valid(scales, symbols)
        values = self.values(in_buckets(symbols[None], self.bucket), scales[None], size=size)
        return out_of_buckets(values, size)[0]

    def _require_valid(self, scales: Tensor, symbols: Tensor) -> None:
        if not is_finite(scales) or bool((scales < 0).any()):
            raise UnexpectedTensor("a scale is not a length", expected="finite numbers, 0 or greater")
        if symbols.numel() and (largest := int(symbols.max())) > self.largest_symbol:
            raise UnexpectedTensor(
                "there is no such level", expected=f"0 to {self.largest_symbol}", got=largest
            )
