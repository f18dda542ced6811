"""Four bits a number as floating point, a sign and three bits of exponent (E3M0), with a scale for each bucket.

The format in which Streaming DiLoCo sends: Douillard et al., "Streaming DiLoCo with overlapping communication",
arXiv 2501.18512, 2025.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gossipfl.codecs.quantised import BucketCodec

__all__ = ["FP4"]

_LEVELS = 7  # powers of two from 2⁻⁶ to 1; the eighth exponent is zero itself


@dataclass(frozen=True, slots=True, kw_only=True)
class FP4(BucketCodec):
    """Numbers rounded to the nearest of 0 and ±m·2⁻⁶, …, ±m/2, ±m, where m is the bucket's largest magnitude.

    A number that is not rounded to zero moves by a third of itself at most, and one that is by less than m/128. So
    ‖Q(x) − x‖² ≤ (1/9 + n/2¹⁴)‖x‖² for buckets of n numbers.

    Parameters
    ----------
    bucket : int
        n: numbers that share a scale.
    """

    bucket: int = 128

    @property
    def name(self) -> str:
        """``fp4:BUCKET``."""
        return f"fp4:{self.bucket}"

    @property
    def unbiased(self) -> bool:
        """It is not: rounding is to nearest."""
        return False

    def contraction(self, size: int) -> float | None:
        """``8/9 − n/2¹⁴`` where that is positive."""
        left = 8 / 9 - min(self.bucket, size) / 2**14
        return left if left > 0 else None

    @property
    def largest_symbol(self) -> int:
        """Symbols are the signed exponent + 7: 15 of 16, as zero has no sign."""
        return 2 * _LEVELS

    def symbols(self, buckets: Tensor, *, size: int, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Round to nearest, up where two are as near; scales are the largest magnitudes."""
        magnitudes = buckets.abs()
        scales = magnitudes.amax(dim=2) if buckets.shape[2] else buckets.new_zeros(buckets.shape[:2])
        mantissas, exponents = torch.frexp(magnitudes / torch.where(scales > 0, scales, 1)[..., None])
        levels = exponents + (_LEVELS - 1) + (mantissas >= 0.75)
        levels = torch.where((mantissas > 0) & (exponents >= 1 - _LEVELS), levels.clamp(1, _LEVELS), 0)
        return torch.where(buckets < 0, _LEVELS - levels, _LEVELS + levels).to(torch.int32), scales

    def values(self, symbols: Tensor, scales: Tensor, *, size: int) -> Tensor:
        """A power of two times the largest magnitude."""
        powers = torch.arange(-_LEVELS, _LEVELS + 1, device=scales.device, dtype=scales.dtype)
        known = torch.where(powers == 0, 0, torch.exp2(powers.abs() - _LEVELS)).copysign(powers)
        return known[symbols.long()] * scales[..., None]
