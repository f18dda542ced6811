"""Forms of rows in a table: in full, or as integers of 8 or 16 bits, each bucket of numbers with a scale.

A model is read into full precision, computed on, and written back rounded. Rounding at random has no bias, so what
is smaller than a step of the scale is not lost, but there on average: no error needs to be kept to make up for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor

from gossipfl.codecs.buckets import bucket_count, in_buckets
from gossipfl.codecs.draws import receipt_keys, rekeyed, uniforms
from sims.scenario.engine import EngineSection

__all__ = ["BUCKET", "Form", "FullForm", "RowForm", "rounding_keys"]

BUCKET = 64
"""Numbers that share a scale."""

Shape = tuple[int, ...]


class Form(Protocol):
    """The form in which rows are kept: as one tensor or several, each with the rows' places first."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the tensors, in checkpoints."""
        ...

    def tensors(self, width: int, dtype: torch.dtype) -> tuple[tuple[Shape, torch.dtype], ...]:
        """Shape of each but for the first dimension, and its dtype, for rows of ``width`` numbers of a dtype."""
        ...

    def write(self, rows: Tensor, keys: Tensor | None) -> tuple[Tensor, ...]:
        """Rows ``[B, width]`` as these tensors; what is drawn for it comes from keys, int64 ``[B]``."""
        ...

    def read(self, *tensors: Tensor, width: int) -> Tensor:
        """Rows ``[B, width]`` that were written."""
        ...


@dataclass(frozen=True, slots=True)
class FullForm:
    """Rows as they are."""

    names: ClassVar[tuple[str, ...]] = ("",)

    def tensors(self, width: int, dtype: torch.dtype) -> tuple[tuple[Shape, torch.dtype], ...]:
        """The rows."""
        return (((width,), dtype),)

    def write(self, rows: Tensor, keys: Tensor | None) -> tuple[Tensor, ...]:
        """Rows as they are."""
        del keys
        return (rows,)

    def read(self, *tensors: Tensor, width: int) -> Tensor:
        """Rows as they are."""
        return tensors[0][:, :width]


@dataclass(frozen=True, slots=True)
class RowForm:
    """The form in which rows are kept.

    Parameters
    ----------
    bits : {8, 16}
    rounding : {'random', 'nearest'}
        At random, without bias, from keys; or to the nearest step.
    """

    bits: Literal[8, 16]
    rounding: Literal["random", "nearest"] = "random"
    names: ClassVar[tuple[str, ...]] = (".steps", ".scales")

    @classmethod
    def of(cls, section: EngineSection) -> RowForm | None:
        """The form that a scenario asks for; None if rows are kept in full."""
        return cls(8 if section.rows == "int8" else 16, section.rounding) if section.is_compact else None

    @property
    def dtype(self) -> torch.dtype:
        """Of the integers."""
        return torch.int8 if self.bits == 8 else torch.int16

    @property
    def largest(self) -> int:
        """Steps that the largest magnitude of a bucket is divided into: 127 or 32,767."""
        return int(torch.iinfo(self.dtype).max)

    def row_bytes(self, width: int, *, scale_bytes: int = 4) -> int:
        """Bytes of a row of ``width`` numbers."""
        buckets = bucket_count(width, BUCKET)
        return buckets * (BUCKET * self.bits // 8 + scale_bytes)

    def tensors(self, width: int, dtype: torch.dtype) -> tuple[tuple[Shape, torch.dtype], ...]:
        """Steps and scales."""
        count = bucket_count(width, BUCKET)
        return ((count, BUCKET), self.dtype), ((count,), dtype)

    def write(self, rows: Tensor, keys: Tensor | None) -> tuple[Tensor, Tensor]:
        """Round rows; at random where the form says so and there are keys.

        No number moves by a step or more of its bucket, m/127 or m/32,767 for the largest magnitude m, or by more
        than half a step if rounded to nearest.

        Parameters
        ----------
        rows : Tensor
            Shape ``[B, P]``.
        keys : Tensor, optional
            Int64 ``[B]``.

        Returns
        -------
        steps : Tensor
            Integers ``[B, C, BUCKET]``.
        scales : Tensor
            The length of a step, ``[B, C]``, of the rows' dtype; NaN or infinite where the row is.
        """
        buckets = in_buckets(rows, BUCKET)
        scales = buckets.abs().amax(dim=2) / self.largest
        ratios = buckets / torch.where(scales > 0, scales, 1)[..., None]
        if self.rounding == "random" and keys is not None:
            draws = uniforms(keys, ratios.shape[1] * BUCKET).view(ratios.shape)
            ratios = torch.floor(ratios + draws)
        else:
            ratios = torch.round(ratios)
        return ratios.clamp_(-self.largest, self.largest).nan_to_num_(0).to(self.dtype), scales

    def read(self, *tensors: Tensor, width: int) -> Tensor:
        """Rows ``[B, width]`` that were written, from steps and scales."""
        steps, scales = tensors
        return steps.to(scales.dtype).mul_(scales[..., None]).flatten(1)[:, :width]


def rounding_keys(nodes: Tensor, ages: Tensor, steps: Tensor, *, seed: int) -> Tensor:
    """Keys of the roundings of nodes' new models, int64 ``[B]``: others after every step and every newer model.

    Parameters
    ----------
    nodes, steps : Tensor
        Numbers, and training steps done, int64 ``[B]``.
    ages : Tensor
        Of the models, int64 ``[B]`` or ``[B, parts]``.
    seed : int
    """
    total = ages.reshape(len(ages), -1).sum(dim=1)
    return rekeyed(receipt_keys(receipt_keys(nodes, total), steps), seed)
