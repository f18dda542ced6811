"""Rows of a table in a form of their own: in few bits, or in a file, read a few at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sims.engine.spaces import InMemory, Space
from sims.rows.forms import Form

__all__ = ["KeptRows", "Stored"]

_NUMBERS_AT_ONCE = 2**21


class Stored(NamedTuple):
    """An array of whose first indices some are read at a time."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    parts: Iterable[NDArray[np.generic]]


@dataclass(slots=True, kw_only=True)
class KeptRows:
    """Rows of a table: of the nodes, and of models on their way, which may become more.

    They can be read by index and by slice as a tensor ``[places, width]`` can. Where all first rows are alike they
    are not written before they change.

    Parameters
    ----------
    form : Form
    width : int
        Numbers in a row.
    dtype : torch.dtype
        Of rows that are read.
    space : Space
        Where they are.
    parts : list of list of Tensor
        For each tensor of the form: of the first places, and of those that were added.
    origin : tuple of Tensor, optional
        The row, as the form has it, of places that were never written; ``[1, ...]`` each.
    written : ndarray
        Which of the first places were written, bool; empty without ``origin``.
    settled : bool
        Whether all are known to be.
    """

    form: Form
    width: int
    dtype: torch.dtype
    space: Space
    parts: list[list[Tensor]]
    origin: tuple[Tensor, ...] | None
    written: NDArray[np.bool_]
    settled: bool = False

    @classmethod
    def of(
        cls, first: Tensor, form: Form, *, places: int, device: torch.device, space: Space | None = None
    ) -> KeptRows:
        """Make so many places, from rows of the first ones, or one row for all; rounded to nearest.

        The last place, if it has no row, has the first one.
        """
        space = space or InMemory(device)
        width, dtype, alike = first.shape[1], first.dtype, len(first) == 1
        made = cls(
            form=form,
            width=width,
            dtype=dtype,
            space=space,
            parts=[[space.of(places, *tensor)] for tensor in form.tensors(width, dtype)],
            origin=form.write(first.to(device), None) if alike else None,
            written=np.zeros(places if alike else 0, dtype=np.bool_),
        )
        for start in range(0, 0 if alike else places, made._at_once):
            numbers = torch.arange(start, min(start + made._at_once, places))
            numbers[numbers >= len(first)] = 0
            values = form.write(first[numbers].to(device), None)
            for parts, part in zip(made.parts, values, strict=True):
                space.begin(parts[0], np.arange(start, start + len(numbers)), part)
        return made

    @property
    def _at_once(self) -> int:
        return max(1, _NUMBERS_AT_ONCE // self.width)

    def __len__(self) -> int:
        return sum(len(each) for each in self.parts[0])

    @property
    def shape(self) -> tuple[int, int]:
        """Places, and numbers in a row."""
        return len(self), self.width

    @property
    def device(self) -> torch.device:
        """Where they are read to."""
        return self.parts[0][0].device

    @property
    def nbytes(self) -> int:
        """Bytes of all of it."""
        return sum(each.nbytes for parts in self.parts for each in parts)

    def index_select(self, dim: int, places: Tensor) -> Tensor:
        """Rows at places, ``[B, width]``."""
        if dim != 0:
            raise ValueError(f"rows are chosen by their places, not along dimension {dim}")
        return self.form.read(*self._taken(places), width=self.width)

    def __getitem__(self, places: slice) -> Tensor:
        start, stop, step = places.indices(len(self))
        return self.index_select(0, torch.arange(start, stop, step, device=self.device))

    def write(self, rows: Tensor, keys: Tensor | None, *places: NDArray[np.int64]) -> None:
        """Write rows ``[B, width]``, each to all its places, int64 ``[B]``; keys are those of roundings."""
        values = self.form.write(rows, keys)
        for each in places:
            self._begin(each)
            self._put(each, values)

    def copy(self, origins: Tensor, places: Tensor) -> None:
        """Copy rows as they are."""
        for start in range(0, len(places), self._at_once):
            part = slice(start, start + self._at_once)
            numbers = places[part].cpu().numpy()
            self._begin(numbers)
            self._put(numbers, self._taken(origins[part]))

    def first(self, places: int) -> KeptRows:
        """The first so many places, in the same memory."""
        return KeptRows(
            form=self.form,
            width=self.width,
            dtype=self.dtype,
            space=self.space,
            parts=[[parts[0][:places]] for parts in self.parts],
            origin=self.origin,
            written=self.written[:places],
            settled=self.settled,
        )

    def stored(self) -> list[Stored]:
        """What is stored at all places that there were first, as one array for each tensor of the form."""
        at_once, places = self._at_once, len(self.parts[0][0])

        def taken(number: int) -> Iterable[NDArray[np.generic]]:
            for start in range(0, places, at_once):
                at = torch.arange(start, min(start + at_once, places), device=self.device)
                yield self._taken(at)[number].cpu().numpy()

        return [
            Stored(parts[0].cpu()[:0].numpy().dtype, tuple(parts[0].shape), taken(number))
            for number, parts in enumerate(self.parts)
        ]

    def make_room(self, places: int) -> None:
        """Make sure there are at least this many places; those of the first stay where they are."""
        self.settled = bool(self.written.all())
        missing = places - len(self)
        if missing <= 0:
            return
        for parts, tensor in zip(self.parts, self.form.tensors(self.width, self.dtype), strict=True):
            if len(parts) > 1:
                parts[1] = self.space.longer(parts[1], missing)
            else:
                parts.append(self.space.of(missing, *tensor, begun=True))

    def expect(self, *places: NDArray[np.int64]) -> None:
        """Say that these places are next."""
        wanted = np.unique(np.concatenate(places))
        first = len(self.parts[0][0])
        split = int(np.searchsorted(wanted, first))
        self._begin(wanted[:split])
        for parts in self.parts:
            self.space.expect(parts[0], wanted[:split])
            if len(parts) > 1:
                self.space.expect(parts[1], wanted[split:] - first)

    def _begin(self, places: NDArray[np.int64]) -> None:
        """Begin places of the first ones in a file that are about to be written, with the row they have."""
        if self.origin is None or self.settled or not self.space.sparse:
            return
        places = places[places < len(self.written)]
        new = np.unique(places[~self.written[places]])
        if len(new):
            for parts, origin in zip(self.parts, self.origin, strict=True):
                self.space.begin(parts[0], new, origin)
            self.written[new] = True

    def _taken(self, places: Tensor) -> tuple[Tensor, ...]:
        first = len(self.parts[0][0])
        later, added = places >= first, (places - first).clamp(min=0)
        places = places.clamp(max=first - 1)
        there = None
        if self.origin is not None and not self.settled:
            written = self.written[places.cpu().numpy()]
            there = None if written.all() else torch.from_numpy(np.flatnonzero(written)).to(self.device)

        def of(parts: list[Tensor], origin: Tensor | None) -> Tensor:
            if there is None or origin is None:
                found = parts[0].index_select(0, places)
            else:  # what was never written is not read: of a file, that would take a block in some file systems
                found = origin.repeat(len(places), *(1,) * (origin.dim() - 1))
                found.index_copy_(0, there, parts[0].index_select(0, places.index_select(0, there)))
            if len(parts) == 1:
                return found
            # Both are read, for a card would have to be waited for to know which places are later ones.
            dims = (-1, *(1,) * (found.dim() - 1))
            return torch.where(later.view(dims), parts[1].index_select(0, added), found)

        origins = self.origin or (None,) * len(self.parts)
        return tuple(of(parts, origin) for parts, origin in zip(self.parts, origins, strict=True))

    def _put(self, places: NDArray[np.int64], values: tuple[Tensor, ...]) -> None:
        first = len(self.parts[0][0])
        for number, (start, chosen) in enumerate(((0, places < first), (first, places >= first))):
            if not chosen.any():
                continue
            at = torch.from_numpy(places[chosen] - start).to(self.device)
            which = None if chosen.all() else torch.from_numpy(np.flatnonzero(chosen)).to(self.device)
            for tensor, parts in zip(values, self.parts, strict=True):
                parts[number].index_copy_(0, at, tensor if which is None else tensor.index_select(0, which))
        if len(self.written):
            self.written[places[places < first]] = True

    def state(self) -> dict[str, NDArray[np.generic]]:
        """All of it as named arrays, for a checkpoint."""
        found = {
            f"rows{name}.{place}": part.cpu().numpy()
            for name, parts in zip(self.form.names, self.parts, strict=True)
            for place, part in enumerate(parts)
        }
        return found if self.origin is None else {**found, "rows.written": self.written}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Continue from a value of `state`."""
        if self.origin is not None:
            self.written[:], self.settled = state.get("rows.written", True), False
        tensors = self.form.tensors(self.width, self.dtype)
        for name, parts, tensor in zip(self.form.names, self.parts, tensors, strict=True):
            for place in range(2):
                found = state.get(f"rows{name}.{place}")
                if found is not None:
                    old = (
                        parts[place] if place < len(parts) else self.space.of(len(found), *tensor, begun=True)
                    )
                    among = self.written if place == 0 else self.written[:0]
                    parts[place:] = [self.space.holding(old, found, among)]
