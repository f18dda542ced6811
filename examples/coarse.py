"""A compressor of one's own: every number rounded to one of a few levels between the row's extremes, a byte each.

Name it wherever a codec is named, in a scenario or in ``peer.toml``, as ``coarse:Coarse:16``::

    gossipfl sim run digits --set 'algorithm={name="deep_squeeze",codec="coarse:Coarse:16"}'
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gossipfl.codecs import PayloadTensor, TensorSpec, is_finite, payload_of, require_admitted, tensor_of
from gossipfl.errors import NonFiniteUpdate, UnexpectedTensor


@dataclass(frozen=True)
class Coarse:
    """Rounds to ``levels`` values, at most 256."""

    levels: int = 16
    unbiased = False

    @property
    def name(self) -> str:
        """The name that files and messages have."""
        return f"coarse:Coarse:{self.levels}"

    def contraction(self, size: int) -> float | None:
        """No number moves by more than half a step, which is at most ‖x‖ / (levels − 1)."""
        noise = size / (self.levels - 1) ** 2
        return 1 - noise if noise < 1 else None

    def _symbols(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        ends = torch.stack(rows.aminmax(dim=1), dim=1)
        step = (ends[:, 1:] - ends[:, :1]) / (self.levels - 1)
        return ((rows - ends[:, :1]) / torch.where(step > 0, step, 1)).round(), ends

    def _values(self, symbols: Tensor, ends: Tensor) -> Tensor:
        return ends[:, :1] + symbols * ((ends[:, 1:] - ends[:, :1]) / (self.levels - 1))

    def compress(self, rows: Tensor, *, keys: Tensor) -> Tensor:
        """What receivers will decode, of all rows at once."""
        return self._values(*self._symbols(rows))

    def encode(self, row: Tensor, *, key: int = 0) -> tuple[PayloadTensor, ...]:
        """Write one row."""
        if not is_finite(row):
            raise NonFiniteUpdate("the row holds NaN or an infinity")
        symbols, ends = self._symbols(row[None])
        return payload_of("symbols", symbols[0].to(torch.uint8)), payload_of("ends", ends[0])

    def expected(self, size: int) -> tuple[TensorSpec, ...]:
        """What a payload must hold: a byte a number, and two numbers."""
        return TensorSpec("symbols", "uint8", (size,)), TensorSpec("ends", "float32-le", (2,))

    def decode(self, tensors: Sequence[PayloadTensor], size: int) -> Tensor:
        """Read one row; whatever the bytes, nothing but `UnexpectedTensor` is raised."""
        require_admitted([each.header for each in tensors], self.expected(size))
        symbols, ends = (tensor_of(each) for each in tensors)
        if not is_finite(ends) or bool((symbols >= self.levels).any()):
            raise UnexpectedTensor("the levels of the row are out of range")
        return self._values(symbols[None].float(), ends[None])[0]

    def payload_bytes(self, size: int) -> int:
        """Bytes that `encode` writes."""
        return size + 8
