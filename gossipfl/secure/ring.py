"""The fixed-point ring in which rows are masked and summed: integers modulo 2³² or 2⁶⁴."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gossipfl.errors import NumberOutOfRange, SettingError

__all__ = ["FixedPoint", "RingRow", "ring_sum"]

RingRow = NDArray[np.unsignedinteger[Any]]
"""Ring elements, uint32 or uint64 ``[K]``; arithmetic wraps around."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedPoint:
    """Fixed-point numbers whose weighted sums cannot overflow.

    A number x with weight w, 0 < w ≤ 1, is encoded as ⌊w · x · 2^fraction⌉, in float64, to nearest, ties to even.
    As |x| ≤ `largest`, and the weights of a sum add up to at most 1, the encoded sum of k numbers is at most
    2^(bits − 2) + k/2 in magnitude, which is below 2^(bits − 1): it is never wrapped.

    Parameters
    ----------
    largest : float
        Largest magnitude of a number; rounded up to a power of two.
    bits : {32, 64}
    """

    largest: float
    bits: Literal[32, 64] = 32

    def __post_init__(self) -> None:
        if not (math.isfinite(self.largest) and 2.0**-20 <= self.largest <= 2.0**20):
            raise SettingError(
                "the range of a fixed-point ring is wrong", expected="2**-20 to 2**20", got=self.largest
            )

    @property
    def bound(self) -> float:
        """Largest magnitude that is encoded, a power of two."""
        return 2.0 ** math.ceil(math.log2(self.largest))

    @property
    def fraction(self) -> int:
        """Bits after the binary point."""
        return self.bits - 2 - math.ceil(math.log2(self.largest))

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger[Any]]:
        """Little-endian uint32 or uint64."""
        return np.dtype(f"<u{self.bits // 8}")

    def encode(self, row: NDArray[np.floating[Any]], *, weight: float = 1.0) -> RingRow:
        """Encode a row times its weight.

        Parameters
        ----------
        row : ndarray, shape [K]
        weight : float
            Above 0, at most 1.

        Raises
        ------
        NumberOutOfRange
            A number is beyond ±`bound`, or not finite.
        """
        if not 0 < weight <= 1:
            raise NumberOutOfRange(
                "the weight of a summand is wrong", expected="above 0, at most 1", got=weight
            )
        if row.size and not float(np.abs(row).max()) <= self.bound:  # NaN is not
            raise NumberOutOfRange(
                "a row has a number that masked sums cannot hold",
                expected=f"at most {self.bound:g} in magnitude",
                got=float(np.abs(row).max()),
                remedy="Raise rounds.sums_range at all members, or lower the learning rate if training diverges.",
            )
        scaled = row.astype(np.float64) * (weight * 2.0**self.fraction)
        return np.rint(scaled, out=scaled).astype(np.int64).astype(self.dtype)

    def decode(self, total: RingRow) -> NDArray[np.float64]:
        """Return the numbers of a sum, float64 ``[K]``; exact for 32 bits."""
        signed = total.astype(self.dtype, copy=False).view(f"<i{self.bits // 8}")
        return signed.astype(np.float64) * 2.0**-self.fraction


def ring_sum(rows: Iterable[RingRow], *, like: RingRow) -> RingRow:
    """Sum rows in the ring; zeros like `like` if there are none."""
    total = np.zeros_like(like)
    for row in rows:
        np.add(total, row, out=total)
    return total
