"""The table of a message-driven simulation whose rows are kept in few bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.training import Nodes
from sims.engine.compact import CompactRows, RowForm, rounding_keys
from sims.engine.packing import Packing
from sims.engine.table import Outcome, Table, spread

__all__ = ["CompactTable", "new_compact_table"]


@dataclass(slots=True, kw_only=True)
class CompactTable(Table):
    """A `Table` whose ``rows`` are empty: they are in ``compact``.

    A block of updates gets the rows that it reads as a small table of its own. What stays with nodes is kept in
    full.

    Parameters
    ----------
    compact : CompactRows
    seed : int
        Of the roundings.
    """

    compact: CompactRows
    seed: int

    def arguments(self, counters: Tensor, columns: Tensor, *, answers: bool) -> tuple[Tensor, ...]:
        """The same for a table of the block alone, read into full precision."""
        return self._of_block(counters, columns, answers=answers)

    def write(
        self, columns: Tensor, numbers: NDArray[np.int64], outcome: Outcome, *, steps: Tensor | None = None
    ) -> None:
        """Round updated nodes, and write them to their own places and to slots."""
        rows, ages, kept = outcome
        node, keep = columns[0], columns[3]
        done = torch.zeros_like(node) if steps is None else steps
        keys = rounding_keys(node, ages, done, seed=self.seed)
        self.compact.write(rows, keys, numbers[0], numbers[3])
        for places in (node, keep):
            self.ages.index_copy_(0, places, ages)
        if kept.shape[1]:
            self.kept.index_copy_(0, node, kept)

    def models(self) -> CompactRows:
        """Rows of the nodes, which are read a few at a time."""
        return self.compact.first(self.n)

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Rows as named arrays, for a checkpoint."""
        return self.compact.state()

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Continue from a value of `state`."""
        self.compact.restore(state)

    def _read(self, places: Tensor) -> Tensor:
        return self.compact.index_select(0, places)

    def _copy_rows(self, origins: Tensor, places: Tensor) -> None:
        self.compact.copy(origins, places)

    def _add_rows(self, extra: int) -> None:
        self.compact.make_room(len(self.compact) + extra)


def new_compact_table(
    first: Nodes, packing: Packing, form: RowForm, *, nodes: int, seed: int, device: torch.device
) -> CompactTable:
    """Table of nodes that have not trained yet, without slots; first rows are rounded to nearest.

    Parameters
    ----------
    first : Nodes
        One if all start alike, else ``nodes`` of them.
    packing : Packing
    form : RowForm
    nodes, seed : int
    device : torch.device
    """
    rows, kept = packing.pack(first)
    return CompactTable(
        rows=rows[:0],
        compact=CompactRows.of(rows, form, places=nodes + 1, device=device),
        ages=spread(first.ages, nodes=nodes, device=device),
        kept=spread(kept, nodes=nodes, device=device),
        steps=np.zeros(nodes, dtype=np.int64),
        versions=np.zeros(nodes + 1, dtype=np.int64),
        seed=seed,
    )
