"""The seam at which a row is compressed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from gossipfl.codecs.payload import PayloadTensor, TensorSpec

__all__ = ["Codec"]


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
