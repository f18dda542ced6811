"""Eight bits a number, rounded to nearest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gossipfl.codecs.buckets import bucket_count, in_buckets, out_of_buckets
from gossipfl.codecs.payload import PayloadTensor, payload_of, tensor_of
from gossipfl.codecs.quantised import BucketCodec
from gossipfl.codecs.refusal import require_in_range

__all__ = ["Int8"]

_STEPS = 127
_BLOCK = 2**17  # numbers: half a megabyte of float32


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8(BucketCodec):
    """Numbers rounded to the nearest of 255 multiples of m/127, where m is the largest magnitude of the bucket.

    No number moves by more than m/254; so ‖Q(x) − x‖² ≤ n/254² ‖x‖² for buckets of n numbers.

    Parameters
    ----------
    bucket : int
        n: numbers that share a scale.
    """

    bucket: int = 256

    @property
    def name(self) -> str:
        """``int8:BUCKET``."""
        return f"int8:{self.bucket}"

    @property
    def unbiased(self) -> bool:
        """It is not: rounding is to nearest."""
        return False

    def contraction(self, size: int) -> float | None:
        """``1 − n/254²`` where that is positive."""
        noise = min(self.bucket, size) / (2 * _STEPS) ** 2
        return 1 - noise if noise < 1 else None

    @property
    def largest_symbol(self) -> int:
        """Symbols are level + 127."""
        return 2 * _STEPS

    def symbols(self, buckets: Tensor, *, size: int, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Round to nearest, ties to even; scales are the largest magnitudes."""
        magnitudes = buckets.abs()
        scales = magnitudes.amax(dim=2) if buckets.shape[2] else buckets.new_zeros(buckets.shape[:2])
        ratios = torch.div(buckets, torch.where(scales > 0, scales, 1)[..., None], out=magnitudes)
        return ratios.mul_(_STEPS).round_().add_(_STEPS).to(torch.uint8), scales

    def values(self, symbols: Tensor, scales: Tensor, *, size: int) -> Tensor:
        """Level times largest magnitude over 127."""
        return symbols.to(scales.dtype).sub_(_STEPS).div_(_STEPS).mul_(scales[..., None])

    def _written(self, row: Tensor, key: int) -> tuple[PayloadTensor, ...]:
        """Block by block, so that what is computed between row and payload stays in the cache."""
        levels = torch.empty(len(row), dtype=torch.uint8)
        scales = torch.empty(bucket_count(len(row), self.bucket))
        keys = torch.tensor([key], dtype=torch.int64)
        for numbers, buckets in self._blocks(len(row)):
            block = in_buckets(row[None, numbers], self.bucket)
            symbols, scales[buckets] = self.symbols(block, size=len(row), keys=keys)
            levels[numbers] = out_of_buckets(symbols, len(levels[numbers]))[0]
        require_in_range(scales, row=row, codec=self.name, most="finite numbers")
        return payload_of("scales", scales), payload_of("levels", levels)

    def _read(self, tensors: Sequence[PayloadTensor], size: int) -> Tensor:
        """Block by block, as it is written."""
        scales, levels = (tensor_of(tensor) for tensor in tensors)
        self._require_valid(scales, levels)
        row = torch.empty(size)
        for numbers, buckets in self._blocks(size):
            block = in_buckets(levels[None, numbers], self.bucket)
            values = self.values(block, scales[None, buckets], size=size)
            row[numbers] = out_of_buckets(values, len(row[numbers]))[0]
        return row

    def _blocks(self, size: int) -> Iterator[tuple[slice, slice]]:
        """Whole buckets of a row, by their numbers and by their scales."""
        at_a_time = max(1, _BLOCK // self.bucket)
        for first in range(0, bucket_count(size, self.bucket), at_a_time):
            beyond = first + at_a_time
            yield slice(first * self.bucket, beyond * self.bucket), slice(first, beyond)
