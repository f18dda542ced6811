"""Codecs that send a few numbers of a row in full, and nothing of the others.

Stich, Cordonnier & Jaggi, "Sparsified SGD with memory", NeurIPS 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gossipfl.codecs.chosen import (
    chosen_bytes,
    chosen_count,
    chosen_spec,
    largest,
    read_chosen,
    require_share,
    write_chosen,
)
from gossipfl.codecs.draws import scores
from gossipfl.codecs.payload import PayloadTensor, TensorSpec, payload_of, tensor_of
from gossipfl.codecs.refusal import require_finite, require_in_range
from gossipfl.codecs.row_codec import RowCodec

__all__ = ["RandomK", "TopK"]

_SEED_BYTES = 8


@dataclass(frozen=True, slots=True)
class TopK(RowCodec):
    """The k numbers of greatest magnitude; of equal ones those with lower indices.

    ‖Q(x) − x‖² ≤ (1 − k/d)‖x‖² for every x. The payload is ``values`` (float32, in the order of their indices) and
    where they belong: ``indices``, packed at ⌈log₂ d⌉ bits, or ``bitmap``, one bit for every number of the row,
    whichever is smaller.

    Parameters
    ----------
    share : int or float
        k itself, or the fraction of a row's numbers that k is, at least one number.
    """

    share: int | float

    def __post_init__(self) -> None:
        require_share(self.share)

    @property
    def name(self) -> str:
        """``top:SHARE``."""
        return f"top:{self.share}"

    @property
    def unbiased(self) -> bool:
        """It is not."""
        return False

    def contraction(self, size: int) -> float | None:
        """k/d."""
        return chosen_count(self.share, size) / size if size else 1.0

    def _compressed(self, rows: Tensor, keys: Tensor) -> Tensor:
        return torch.where(largest(rows.abs(), chosen_count(self.share, rows.shape[1])), rows, 0)

    def payload_bytes(self, size: int) -> int:
        """Bytes of values and indices of a row of ``size`` numbers."""
        count = chosen_count(self.share, size)
        return 4 * count + chosen_bytes(count, size)

    def expected(self, size: int) -> tuple[TensorSpec, ...]:
        """Describe the tensors of a valid payload for a row of ``size`` numbers."""
        count = chosen_count(self.share, size)
        return TensorSpec("values", "float32-le", (count,)), chosen_spec(count, size)

    def _written(self, row: Tensor, key: int) -> tuple[PayloadTensor, ...]:
        require_finite(row)
        chosen = largest(row[None].abs(), chosen_count(self.share, len(row)))[0]
        return payload_of("values", row[chosen]), write_chosen(chosen)

    def _read(self, tensors: Sequence[PayloadTensor], size: int) -> Tensor:
        row = torch.zeros(size)
        row[read_chosen(tensors[1], chosen_count(self.share, size), size)] = tensor_of(tensors[0])
        return row


@dataclass(frozen=True, slots=True)
class RandomK(RowCodec):
    """k numbers drawn at random without replacement, every choice as likely as any other.

    E‖Q(x) − x‖² = (1 − k/d)‖x‖² for every x; unbiased, if multiplied by d/k. The payload is ``values`` (float32,
    in the order of their indices), and the ``seed`` from which the receiver draws the same choice, or ``indices``
    where those are fewer bytes.

    Parameters
    ----------
    share : int or float
        k itself, or the fraction of a row's numbers that k is, at least one number.
    scaled : bool
        Whether the numbers are multiplied by d/k.
    """

    share: int | float
    scaled: bool = False

    def __post_init__(self) -> None:
        require_share(self.share)

    @property
    def name(self) -> str:
        """``random:SHARE``, or ``random-scaled:SHARE``."""
        return f"{'random-scaled' if self.scaled else 'random'}:{self.share}"

    @property
    def unbiased(self) -> bool:
        """If scaled."""
        return self.scaled

    def contraction(self, size: int) -> float | None:
        """k/d; if scaled, 2 − d/k where that is positive."""
        ratio = chosen_count(self.share, size) / size if size else 1.0
        if not self.scaled:
            return ratio
        return 2 - 1 / ratio if ratio > 1 / 2 else None

    def _compressed(self, rows: Tensor, keys: Tensor) -> Tensor:
        chosen = self._chosen(keys, rows.shape[1])
        return torch.where(chosen, rows * self._factor(rows.shape[1]), 0)

    def payload_bytes(self, size: int) -> int:
        """Bytes of values and seed or indices of a row of ``size`` numbers."""
        count = chosen_count(self.share, size)
        return 4 * count + min(_SEED_BYTES, chosen_bytes(count, size))

    def expected(self, size: int) -> tuple[TensorSpec, ...]:
        """Describe the tensors of a valid payload for a row of ``size`` numbers."""
        count = chosen_count(self.share, size)
        seed = TensorSpec("seed", "int64-le", (1,))
        where = seed if self._sends_seed(size) else chosen_spec(count, size)
        return TensorSpec("values", "float32-le", (count,)), where

    def _written(self, row: Tensor, key: int) -> tuple[PayloadTensor, ...]:
        seed = torch.tensor([key], dtype=torch.int64)
        values = row * self._factor(len(row))
        require_in_range(values, row=row, codec=self.name, most="numbers that can be multiplied by d/k")
        chosen = self._chosen(seed, len(row))[0]
        where = payload_of("seed", seed) if self._sends_seed(len(row)) else write_chosen(chosen)
        return payload_of("values", values[chosen]), where

    def _read(self, tensors: Sequence[PayloadTensor], size: int) -> Tensor:
        if self._sends_seed(size):
            chosen = self._chosen(tensor_of(tensors[1]), size)[0]
        else:
            chosen = read_chosen(tensors[1], chosen_count(self.share, size), size)
        row = torch.zeros(size)
        row[chosen] = tensor_of(tensors[0])
        return row

    def _chosen(self, keys: Tensor, size: int) -> Tensor:
        return largest(scores(keys, size), chosen_count(self.share, size))

    def _factor(self, size: int) -> float:
        return size / chosen_count(self.share, size) if self.scaled and size else 1.0

    def _sends_seed(self, size: int) -> bool:
        return chosen_bytes(chosen_count(self.share, size), size) > _SEED_BYTES
