"""The largest numbers of each chunk of a row, as two bits each: the compression of SparseLoCo.

Sarfi et al., "Communication efficient LLM pre-training with SparseLoCo", arXiv 2508.15706, 2025.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gossipfl.codecs.bits import pack, packed_bytes, unpack, width_of
from gossipfl.codecs.buckets import ordered_sum
from gossipfl.codecs.chosen import largest
from gossipfl.codecs.payload import PayloadTensor, TensorSpec, payload_of, tensor_of
from gossipfl.codecs.refusal import is_finite, require_finite
from gossipfl.codecs.row_codec import RowCodec
from gossipfl.errors import SettingError, UnexpectedTensor

__all__ = ["ChunkTop"]

_VALUES = 4
_VALUE_BITS = 2
_LARGEST_CHUNK = 2**16


@dataclass(frozen=True, slots=True)
class ChunkTop(RowCodec):
    """The k numbers of greatest magnitude of every chunk, each as one of four values.

    The values are the means of the chosen numbers of a row that are negative or not, and of a magnitude above the
    mean magnitude of all chosen or not. As means they lose nothing of the sum of the chosen numbers.
    ‖Q(x) − x‖² ≤ (1 − δ)‖x‖², δ being k over the chunk and over the number of all that are chosen: a bound for the
    worst row, far from the usual one.

    The payload is ``lookup`` (four float32), ``levels``, two bits a number, and ``indices`` within chunks, packed
    at ⌈log₂ chunk⌉ bits, so that 64 of 4,096 take 14 bits each: 4,096 · 32 / (64 · 14) = 146.3 times less than
    float32.

    Parameters
    ----------
    count : int
        k; of a shorter last chunk no more than it has.
    chunk : int
        Numbers of a chunk, from 2 to 65,536.
    """

    count: int
    chunk: int

    def __post_init__(self) -> None:
        if not 2 <= self.chunk <= _LARGEST_CHUNK:
            raise SettingError(
                "the size of a chunk is out of range", expected=f"2 to {_LARGEST_CHUNK}", got=self.chunk
            )
        if not 1 <= self.count <= self.chunk:
            raise SettingError(
                "a chunk does not have so many numbers",
                expected=f"a count of 1 to {self.chunk}",
                got=self.count,
            )

    @property
    def name(self) -> str:
        """``chunk-top:COUNT:CHUNK``."""
        return f"chunk-top:{self.count}:{self.chunk}"

    @property
    def unbiased(self) -> bool:
        """It is not."""
        return False

    def contraction(self, size: int) -> float | None:
        """The share of a chunk that k is, over the number of all chosen."""
        return min(1.0, self.count / min(self.chunk, max(size, 1))) / max(1, self._chosen_count(size))

    def payload_bytes(self, size: int) -> int:
        """Bytes of lookup, levels and indices of a row of ``size`` numbers."""
        return sum(spec.most_bytes for spec in self.expected(size))

    def expected(self, size: int) -> tuple[TensorSpec, ...]:
        """Describe the tensors of a valid payload for a row of ``size`` numbers."""
        count = self._chosen_count(size)
        return (
            TensorSpec("lookup", "float32-le", (_VALUES,)),
            TensorSpec("levels", "uint8", (packed_bytes(count, _VALUE_BITS),)),
            TensorSpec("indices", "uint8", (packed_bytes(count, self._index_bits),)),
        )

    @property
    def _index_bits(self) -> int:
        return width_of(self.chunk - 1)

    def _chosen_count(self, size: int) -> int:
        whole, rest = divmod(size, self.chunk)
        return whole * self.count + min(rest, self.count)

    def _compressed(self, rows: Tensor, keys: Tensor) -> Tensor:
        chosen, symbols, lookup = self._coded(rows)
        return torch.where(chosen, lookup.gather(1, symbols), 0)

    def _written(self, row: Tensor, key: int) -> tuple[PayloadTensor, ...]:
        require_finite(row)
        chosen, symbols, lookup = self._coded(row[None])
        places = chosen[0].nonzero()[:, 0]
        return (
            payload_of("lookup", lookup[0]),
            payload_of("levels", pack(symbols[0, places], _VALUE_BITS)),
            payload_of("indices", pack(places % self.chunk, self._index_bits)),
        )

    def _read(self, tensors: Sequence[PayloadTensor], size: int) -> Tensor:
        count, whole = self._chosen_count(size), size // self.chunk
        lookup = tensor_of(tensors[0])
        if not is_finite(lookup):
            raise UnexpectedTensor("a value of the lookup is not finite", expected="four finite numbers")
        symbols = unpack(tensor_of(tensors[1]), count, _VALUE_BITS).long()
        within = unpack(tensor_of(tensors[2]), count, self._index_bits).long()
        full = within[: whole * self.count].view(whole, self.count)
        rest = within[whole * self.count :]
        for indices, most in ((full, self.chunk), (rest[None], size % self.chunk)):
            if indices.numel() and int(indices.max()) >= most:
                raise UnexpectedTensor(
                    "an index is out of range", expected=f"0 to {most - 1}", got=int(indices.max())
                )
            if bool((indices[:, 1:] <= indices[:, :-1]).any()):
                raise UnexpectedTensor(
                    "the indices do not ascend", expected="each greater than the one before it"
                )
        chunks = torch.arange(whole)[:, None] * self.chunk
        places = torch.cat([(full + chunks).reshape(-1), rest + whole * self.chunk])
        row = torch.zeros(size)
        row[places] = lookup[symbols]
        return row

    def _coded(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Which numbers are chosen, bool ``[B, P]``; the symbol of each, int64; and the four values ``[B, 4]``."""
        magnitudes = rows.abs()
        chosen = self._chosen(magnitudes)
        counts = chosen.sum(dim=1).clamp(min=1)
        typical = ordered_sum(torch.where(chosen, magnitudes, 0)) / counts
        large = magnitudes > typical[:, None]
        symbols = 2 * large.long() + (rows >= 0).long()
        values = []
        for symbol in range(_VALUES):
            members = chosen & (symbols == symbol)
            total = ordered_sum(torch.where(members, rows, 0))
            values.append(total / members.sum(dim=1).clamp(min=1))
        return chosen, symbols, torch.stack(values, dim=1).to(rows.dtype)

    def _chosen(self, magnitudes: Tensor) -> Tensor:
        rows, size = magnitudes.shape
        whole = size // self.chunk * self.chunk
        parts = []
        if whole:
            chunks = magnitudes[:, :whole].reshape(-1, self.chunk)
            parts.append(largest(chunks, self.count).view(rows, whole))
        if whole < size:
            parts.append(largest(magnitudes[:, whole:], self.count))
        return torch.cat(parts, dim=1) if parts else torch.zeros_like(magnitudes, dtype=torch.bool)
