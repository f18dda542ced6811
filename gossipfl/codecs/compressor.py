"""The interface for compressing many rows at once."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from gossipfl.codecs.codec import Codec

__all__ = ["Compressor"]


class Compressor(Codec, Protocol):
    """A codec that also computes, for many rows at once, what their receivers will decode.

    For every float32 row, ``compress(rows, keys)[i]`` equals ``decode(encode(rows[i], key=keys[i]))`` bit for bit,
    so that a simulation compresses all rows in one call and a peer's receivers see the same numbers. A row that
    `encode` refuses comes out of `compress` with NaN or infinities. Rows of float64, which no peer sends, are
    compressed in float64, scales included.

    What `contraction` and `unbiased` claim holds but for rounding: to within a few units in the last place of
    the row's norm, and for numbers that do not underflow.
    """

    @property
    def unbiased(self) -> bool:
        """Whether E Q(x) = x."""
        ...

    def contraction(self, size: int) -> float | None:
        """δ in E‖Q(x) − x‖² ≤ (1 − δ)‖x‖² for every x of ``size`` numbers; None where no δ > 0 is known."""
        ...

    def compress(self, rows: Tensor, *, keys: Tensor) -> Tensor:
        """Compress and decompress rows.

        Parameters
        ----------
        rows : Tensor
            Shape ``[B, P]``, float32 or float64.
        keys : Tensor
            Int64 ``[B]``: the only source of random draws.

        Returns
        -------
        Tensor
            Shape ``[B, P]``, of the dtype of ``rows``.
        """
        ...

    def payload_bytes(self, size: int) -> int:
        """Bytes of the payload of a row of ``size`` numbers, as `encode` writes it, without padding between."""
        ...
