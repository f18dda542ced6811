"""One bit a number: the sign, times the mean magnitude.

Bernstein et al., "signSGD: compressed optimisation for non-convex problems", ICML 2018; scaled so that it
contracts: Karimireddy, Rebjock, Stich & Jaggi, "Error feedback fixes signSGD and other gradient compression
schemes", ICML 2019.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gossipfl.codecs.buckets import bucket_sizes, ordered_sum
from gossipfl.codecs.quantised import BucketCodec

__all__ = ["ScaledSign"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledSign(BucketCodec):
    """``Q(x)_i = ‖x‖₁/n · sign(x_i)``, where zero counts as positive.

    ‖Q(x) − x‖² = (1 − ‖x‖₁²/(n‖x‖²))‖x‖² (Karimireddy et al. 2019), so δ = 1/n for every x, and near 2/π for
    Gaussian ones.

    Parameters
    ----------
    bucket : int, optional
        n: numbers that share a scale; by default all of a row.
    """

    @property
    def name(self) -> str:
        """``sign[:BUCKET]``."""
        return "sign" if self.bucket is None else f"sign:{self.bucket}"

    @property
    def unbiased(self) -> bool:
        """It is not."""
        return False

    def contraction(self, size: int) -> float | None:
        """1/n, reached where a bucket has a single number that is not zero."""
        return 1 / max(1, size if self.bucket is None else min(self.bucket, size))

    @property
    def largest_symbol(self) -> int:
        """0 is negative, 1 positive."""
        return 1

    def symbols(self, buckets: Tensor, *, size: int, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Signs, and mean magnitudes."""
        totals = ordered_sum(buckets.abs())
        scales = totals / bucket_sizes(size, self.bucket, like=totals)
        return (buckets >= 0).to(torch.int32), scales.to(buckets.dtype)

    def values(self, symbols: Tensor, scales: Tensor, *, size: int) -> Tensor:
        """Plus or minus the scale."""
        return (symbols * 2 - 1).to(scales.dtype).mul_(scales[..., None])
