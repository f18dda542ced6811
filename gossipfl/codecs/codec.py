"""The seams at which rows are compressed: one row for a message, and many at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from gossipfl.codecs.payload import PayloadTensor, TensorSpec

__all__ = ["Codec", "Compressor"]


class Codec(Protocol):
    """A way to write one row as payload tensors.

    A codec holds no state between messages and keeps nothing of a row. One whose payload varies in size says so
    by bounds in `expected`, and checks in `decode` what no bound can say: that two tensors are equally long, that
    indices ascend and are in range, that scales are finite.
    """

    @property
    def name(self) -> str:
        """Name under which messages say which codec wrote them, with parameters that the reader must know."""
        ...

    def encode(self, row: Tensor, *, key: int = 0) -> tuple[PayloadTensor, ...]:
        """Write a row.

        Parameters
        ----------
        row : Tensor, shape [D], float32
            Not changed. The payload may alias its memory: leave it alone until the payload has been used.
        key : int
            The only source of random draws: −2**63 … 2**63 − 1.

        Raises
        ------
        NonFiniteUpdate
            The row holds NaN or an infinity, or would once encoded.
        UnexpectedTensor
            The row has another dtype or shape.
        """
        ...

    def expected(self, size: int) -> tuple[TensorSpec, ...]:
        """Describe the tensors of a valid payload for a row of ``size`` numbers, in order."""
        ...

    def decode(self, tensors: Sequence[PayloadTensor], size: int) -> Tensor:
        """Read a row, float32 of shape [size]; it may alias the payload's memory.

        Raises
        ------
        UnexpectedTensor
            The payload is not what `expected` says, or contradicts itself. Nothing else is raised, whatever
            the bytes.
        """
        ...


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
