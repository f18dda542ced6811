"""The base of the bundled codecs: what is checked before a row is written, and before a payload is read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor

from gossipfl.codecs.parts import in_parts
from gossipfl.codecs.payload import PayloadTensor, TensorSpec, require_admitted
from gossipfl.codecs.refusal import require_single_row

__all__ = ["RowCodec"]


class RowCodec(ABC):
    """A `Compressor`, but for how its rows are computed, written and read."""

    __slots__ = ()

    @abstractmethod
    def expected(self, size: int) -> tuple[TensorSpec, ...]:
        """Describe the tensors of a valid payload for a row of ``size`` numbers."""

    @abstractmethod
    def _compressed(self, rows: Tensor, keys: Tensor) -> Tensor:
        """Rows ``[B, P]`` as their receivers decode them, with keys int64 ``[B]``."""

    @abstractmethod
    def _written(self, row: Tensor, key: int) -> tuple[PayloadTensor, ...]:
        """The payload of a row, float32 of shape [D], without its gradient."""

    @abstractmethod
    def _read(self, tensors: Sequence[PayloadTensor], size: int) -> Tensor:
        """The row in a payload whose tensors have the expected form."""

    def compress(self, rows: Tensor, *, keys: Tensor) -> Tensor:
        """Compress and decompress rows ``[B, P]``, with keys int64 ``[B]``."""
        return in_parts(self._compressed, rows, keys)

    def encode(self, row: Tensor, *, key: int = 0) -> tuple[PayloadTensor, ...]:
        """Write a row, float32 of shape [D].

        Raises
        ------
        NonFiniteUpdate
            The row holds NaN or an infinity, or numbers too large for the codec.
        UnexpectedTensor
            The row has another dtype or shape.
        """
        require_single_row(row)
        return self._written(row.detach(), key)

    def decode(self, tensors: Sequence[PayloadTensor], size: int) -> Tensor:
        """Read a row, float32 of shape [size].

        Raises
        ------
        UnexpectedTensor
            The payload has another form, or contradicts itself: indices that do not ascend, or are out of range
            or too many, a scale that is not a length, a symbol that is invalid.
        """
        require_admitted([tensor.header for tensor in tensors], self.expected(size))
        return self._read(tensors, size)
