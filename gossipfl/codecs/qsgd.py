"""Stochastic quantisation to levels of the norm.

Alistarh, Grubic, Li, Tomioka & Vojnović, "QSGD: communication-efficient SGD via gradient quantization and
encoding", NeurIPS 2017. Divided by 1 + ω it contracts: Koloskova, Stich & Jaggi, "Decentralized stochastic
optimization and gossip algorithms with compressed communication", ICML 2019.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gossipfl.codecs.buckets import ordered_sum
from gossipfl.codecs.draws import uniforms
from gossipfl.codecs.quantised import BucketCodec
from gossipfl.errors import SettingError

__all__ = ["QSGD"]

_MOST_LEVELS = 2**15


@dataclass(frozen=True, slots=True, kw_only=True)
class QSGD(BucketCodec):
    """``Q(x)_i = ‖x‖ · sign(x_i) · ξ_i / s``, with s|x_i|/‖x‖ rounded at random, without bias, to an integer ξ_i.

    E Q(x) = x and E‖Q(x) − x‖² ≤ ω‖x‖² with ω = min(n/s², √n/s) for buckets of n numbers (Alistarh et al. 2017).
    A number takes ⌈log₂(2s + 1)⌉ bits: s = 2^(b−1) − 1 uses all of b bits.

    Parameters
    ----------
    levels : int
        s, at most 32768.
    bucket : int, optional
        n: numbers that share a norm; by default all of a row.
    shrunk : bool
        Whether the result is divided by 1 + ω: no longer unbiased, but a contraction for any s.
    """

    bucket: int | None = None
    levels: int = 256
    shrunk: bool = False

    def __post_init__(self) -> None:
        BucketCodec.__post_init__(self)
        if not 1 <= self.levels <= _MOST_LEVELS:
            raise SettingError(
                "the number of levels is out of range", expected=f"1 to {_MOST_LEVELS}", got=self.levels
            )

    @property
    def name(self) -> str:
        """``qsgd:LEVELS[:BUCKET]``, or ``qsgd-shrunk:…``."""
        family = "qsgd-shrunk" if self.shrunk else "qsgd"
        return f"{family}:{self.levels}" if self.bucket is None else f"{family}:{self.levels}:{self.bucket}"

    @property
    def unbiased(self) -> bool:
        """Unless shrunk."""
        return not self.shrunk

    def noise(self, size: int) -> float:
        """ω in E‖Q(x) − x‖² ≤ ω‖x‖², before shrinking."""
        n, s = size if self.bucket is None else min(self.bucket, size), self.levels
        return min(n / s**2, math.sqrt(n) / s)

    def contraction(self, size: int) -> float | None:
        """``1/(1 + ω)`` if shrunk, else ``1 − ω`` where that is positive."""
        noise = self.noise(size)
        if self.shrunk:
            return 1 / (1 + noise)
        return 1 - noise if noise < 1 else None

    @property
    def largest_symbol(self) -> int:
        """Symbols are level + s."""
        return 2 * self.levels

    def symbols(self, buckets: Tensor, *, size: int, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Round at random; scales are norms, rounded up so that no ratio is above one."""
        norms = ordered_sum(buckets.to(torch.float64).square()).sqrt_()
        scales = norms.to(buckets.dtype)
        scales = torch.where(scales < norms, torch.nextafter(scales, scales.new_tensor(math.inf)), scales)
        ratios = buckets / torch.where(scales > 0, scales, 1)[..., None]
        ratios *= self.levels
        magnitudes = ratios.abs()
        lower = magnitudes.floor()
        draws = uniforms(keys, buckets.shape[1] * buckets.shape[2]).reshape(buckets.shape)
        lower += draws < magnitudes.sub_(lower)
        levels = lower.clamp_(max=self.levels).copysign_(ratios)
        return levels.to(torch.int32) + self.levels, scales

    def values(self, symbols: Tensor, scales: Tensor, *, size: int) -> Tensor:
        """Level times norm over s."""
        steps = self.levels * (1 + self.noise(size)) if self.shrunk else self.levels
        levels = (symbols - self.levels).to(scales.dtype)
        return levels.div_(steps).mul_(scales[..., None])
