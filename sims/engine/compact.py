"""Rows in few bits: a table of models as integers of 8 or 16 bits, each bucket of numbers with a scale.

A model is read into full precision, computed on, and written back rounded. Rounding at random has no bias, so what
is smaller than a step of the scale is not lost, but there on average: no error needs to be kept to make up for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.codecs.buckets import bucket_count, in_buckets
from gossipfl.codecs.draws import receipt_keys, rekeyed, uniforms
from sims.scenario.scenario import EngineSection

__all__ = ["BUCKET", "CompactRows", "RowForm", "rounding_keys"]

BUCKET = 64
"""Numbers that share a scale."""

_NUMBERS_AT_ONCE = 2**24


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

    def read(self, steps: Tensor, scales: Tensor, width: int) -> Tensor:
        """Rows ``[B, width]`` that were written."""
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


@dataclass(slots=True, kw_only=True)
class CompactRows:
    """Rows of a table: of the nodes, and of models on their way, which may become more.

    It can be read by index and by slice as a tensor ``[places, width]`` can.

    Parameters
    ----------
    form : RowForm
    width : int
        Numbers in a row.
    steps, scales : list of Tensor
        As of `RowForm.write`: of the first places, and of those that were added.
    """

    form: RowForm
    width: int
    steps: list[Tensor]
    scales: list[Tensor]

    @classmethod
    def of(cls, first: Tensor, form: RowForm, *, places: int, device: torch.device) -> CompactRows:
        """Make so many places, from rows of the first ones, or one row for all; rounded to nearest.

        The last place, if it has no row, has the first one.
        """
        count, dtype = bucket_count(first.shape[1], BUCKET), first.dtype
        made = cls(
            form=form,
            width=first.shape[1],
            steps=[torch.empty(places, count, BUCKET, dtype=form.dtype, device=device)],
            scales=[torch.empty(places, count, dtype=dtype, device=device)],
        )
        if len(first) == 1:
            for whole, part in zip(
                (made.steps[0], made.scales[0]), form.write(first.to(device), None), strict=True
            ):
                whole.copy_(part.expand_as(whole))
            return made
        for start in range(0, places, made._at_once):
            numbers = torch.arange(start, min(start + made._at_once, places))
            numbers[numbers >= len(first)] = 0
            written = form.write(first[numbers].to(device), None)
            for whole, part in zip((made.steps[0], made.scales[0]), written, strict=True):
                whole[start : start + len(numbers)] = part
        return made

    @property
    def _at_once(self) -> int:
        return max(1, _NUMBERS_AT_ONCE // self.width)

    def __len__(self) -> int:
        return sum(len(each) for each in self.steps)

    @property
    def shape(self) -> tuple[int, int]:
        """Places, and numbers in a row."""
        return len(self), self.width

    @property
    def dtype(self) -> torch.dtype:
        """Of rows that are read."""
        return self.scales[0].dtype

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.steps[0].device

    @property
    def nbytes(self) -> int:
        """Bytes of all of it."""
        return sum(each.nbytes for each in (*self.steps, *self.scales))

    def index_select(self, dim: int, places: Tensor) -> Tensor:
        """Rows at places, ``[B, width]``."""
        if dim != 0:
            raise ValueError(f"rows are chosen by their places, not along dimension {dim}")
        return self.form.read(*self._taken(places), self.width)

    def __getitem__(self, places: slice) -> Tensor:
        start, stop, step = places.indices(len(self))
        return self.index_select(0, torch.arange(start, stop, step, device=self.device))

    def write(self, rows: Tensor, keys: Tensor | None, *places: NDArray[np.int64]) -> None:
        """Round rows ``[B, width]`` and write each to all its places, int64 ``[B]``."""
        written = self.form.write(rows, keys)
        for each in places:
            self._put(each, *written)

    def copy(self, origins: Tensor, places: Tensor) -> None:
        """Copy rows as they are."""
        for start in range(0, len(places), self._at_once):
            part = slice(start, start + self._at_once)
            self._put(places[part].cpu().numpy(), *self._taken(origins[part]))

    def first(self, places: int) -> CompactRows:
        """The first so many places, in the same memory."""
        parts = ([self.steps[0][:places]], [self.scales[0][:places]])
        return CompactRows(form=self.form, width=self.width, steps=parts[0], scales=parts[1])

    def make_room(self, places: int) -> None:
        """Make sure there are at least this many places; those of the first stay where they are."""
        missing = places - len(self)
        if missing <= 0:
            return
        for parts in (self.steps, self.scales):
            added = parts[0].new_zeros(missing, *parts[0].shape[1:])
            parts[1:] = [torch.cat([*parts[1:], added])]

    def _taken(self, places: Tensor) -> tuple[Tensor, Tensor]:
        first = len(self.steps[0])
        steps, scales = (
            parts[0].index_select(0, places.clamp(max=first - 1)) for parts in (self.steps, self.scales)
        )
        if len(self.steps) == 1:
            return steps, scales
        # Both are read, for a card would have to be waited for to know which places are later ones.
        later, added = places >= first, (places - first).clamp(min=0)
        return (
            torch.where(later[:, None, None], self.steps[1].index_select(0, added), steps),
            torch.where(later[:, None], self.scales[1].index_select(0, added), scales),
        )

    def _put(self, places: NDArray[np.int64], steps: Tensor, scales: Tensor) -> None:
        first = len(self.steps[0])
        for number, (start, chosen) in enumerate(((0, places < first), (first, places >= first))):
            if not chosen.any():
                continue
            at = torch.from_numpy(places[chosen] - start).to(self.device)
            which = None if chosen.all() else torch.from_numpy(np.flatnonzero(chosen)).to(self.device)
            for values, parts in ((steps, self.steps), (scales, self.scales)):
                parts[number].index_copy_(0, at, values if which is None else values.index_select(0, which))

    def state(self) -> dict[str, NDArray[np.generic]]:
        """All of it as named arrays, for a checkpoint."""
        return {
            f"rows.{name}.{place}": part.cpu().numpy()
            for name, parts in (("steps", self.steps), ("scales", self.scales))
            for place, part in enumerate(parts)
        }

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Continue from a value of `state`."""
        device = self.device
        for name, parts in (("steps", self.steps), ("scales", self.scales)):
            parts[:] = [
                torch.from_numpy(state[f"rows.{name}.{place}"]).to(device)
                for place in range(2)
                if f"rows.{name}.{place}" in state
            ]
