"""The table of a message-driven simulation whose rows are kept in few bits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.training import Nodes
from sims.engine.blocks import Blocks
from sims.engine.kept_rows import KeptRows
from sims.engine.paged_table import read_ahead
from sims.engine.spaces import Space
from sims.engine.table import Outcome, Table, spread
from sims.rows.forms import RowForm, rounding_keys
from sims.rows.packing import Packing

__all__ = ["KeptTable", "new_kept_table"]


@dataclass(slots=True, kw_only=True)
class KeptTable(Table):
    """A `Table` whose ``rows`` are empty: they are in ``kept_rows``.

    A block of updates gets the rows that it reads as a small table of its own. What stays with nodes is kept in
    full.

    Parameters
    ----------
    kept_rows : KeptRows
    seed : int
        Of the roundings.
    """

    kept_rows: KeptRows
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
        self.kept_rows.write(rows, keys, numbers[0], numbers[3])
        for places in (node, keep):
            self.ages.index_copy_(0, places, ages)
        if kept.shape[1]:
            self.kept.index_copy_(0, node, kept)

    def pieces(self, blocks: Blocks) -> Iterator[tuple[int, int]]:
        """Parts of the waves one after another, each of as many blocks as are read ahead at a time."""
        for first, last, places in read_ahead(blocks, Table.pieces(self, blocks)):
            self.kept_rows.expect(places)
            yield first, last

    def models(self) -> KeptRows:
        """Rows of the nodes, which are read a few at a time."""
        return self.kept_rows.first(self.n)

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Rows as named arrays, for a checkpoint."""
        return self.kept_rows.state()

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Continue from a value of `state`."""
        self.kept_rows.restore(state)

    def _read(self, places: Tensor) -> Tensor:
        return self.kept_rows.index_select(0, places)

    def _copy_rows(self, origins: Tensor, places: Tensor) -> None:
        self.kept_rows.copy(origins, places)

    def _add_rows(self, extra: int) -> None:
        self.kept_rows.make_room(len(self.kept_rows) + extra)


def new_kept_table(
    first: Nodes,
    packing: Packing,
    form: RowForm,
    space: Space,
    *,
    nodes: int,
    seed: int,
    device: torch.device,
) -> KeptTable:
    """Table of nodes that have not trained yet, without slots; first rows are rounded to nearest.

    Parameters
    ----------
    first : Nodes
        One if all start alike, else ``nodes`` of them.
    packing : Packing
    form : RowForm
    space : Space
        Where rows are.
    nodes, seed : int
    device : torch.device
    """
    rows, kept = packing.pack(first)
    return KeptTable(
        rows=rows[:0],
        kept_rows=KeptRows.of(rows, form, places=nodes + 1, device=device, space=space),
        ages=spread(first.ages, nodes=nodes, device=device),
        kept=spread(kept, nodes=nodes, device=device),
        steps=np.zeros(nodes, dtype=np.int64),
        versions=np.zeros(nodes + 1, dtype=np.int64),
        seed=seed,
    )
