"""Clipping to a largest Euclidean norm."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gossipfl.codecs.buckets import ordered_sum
from gossipfl.codecs.parts import in_parts
from gossipfl.outgoing.transformation import Draws, Effect

__all__ = ["Clip"]


@dataclass(frozen=True, slots=True)
class Clip:
    """``x · min(1, norm / ‖x‖)``: no node's row weighs more than this in a sum.

    Parameters
    ----------
    norm : float
    """

    norm: float

    @property
    def name(self) -> str:
        """``clip:NORM``."""
        return f"clip:{self.norm}"

    def width(self, size: int) -> int:
        """All numbers are kept."""
        return size

    def effect(self, size: int) -> Effect:
        """Biased towards zero; a row loses at most all of itself."""
        return Effect(unbiased=False, relative=1.0)

    def apply(self, rows: Tensor, draws: Draws) -> Tensor:
        """Shorten rows ``[B, size]`` that are longer; others stay as they are, to the bit."""
        return in_parts(self._clipped, rows, draws.keys)

    def _clipped(self, rows: Tensor, keys: Tensor) -> Tensor:
        norms = ordered_sum(rows.to(torch.float64).square()).sqrt_()
        factors = torch.where(norms > self.norm, self.norm / norms, 1.0).to(rows.dtype)
        return rows * factors[:, None]
