"""The table of a message-driven simulation whose rows are in full, in a file."""

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
from sims.engine.spaces import InFiles
from sims.engine.table import Table, spread
from sims.rows.forms import FullForm
from sims.rows.packing import Packing

__all__ = ["READ_AHEAD", "PagedTable", "new_paged_table", "read_ahead"]

READ_AHEAD = 1 << 14
"""Updates whose rows are read ahead at a time."""

_COPIED_AT_ONCE = 1 << 21


@dataclass(slots=True, kw_only=True)
class PagedTable(Table):
    """A `Table` whose ``rows`` lie in a file, from where blocks take them as from memory.

    Where all first rows are alike, each is written when its node first wakes.

    Parameters
    ----------
    space : InFiles
    origin : Tensor
        The row of nodes that were never awake, ``[1, width]``; ``[0, width]`` where all are written.
    written : ndarray
        Which rows of the first N + 1 places are there, bool.
    """

    space: InFiles
    origin: Tensor
    written: NDArray[np.bool_]

    def pieces(self, blocks: Blocks) -> Iterator[tuple[int, int]]:
        """Parts of the waves one after another, each of as many blocks as are read ahead at a time."""
        for first, last, places in read_ahead(blocks, Table.pieces(self, blocks)):
            self._begin(places)
            yield first, last

    def _begin(self, places: NDArray[np.int64]) -> None:
        """Write first rows of places that have none; have the others read ahead."""
        nodes = places[places < len(self.written)]
        new = nodes[~self.written[nodes]]
        self.space.begin(self.rows, new, self.origin)
        self.written[new] = True
        self.space.expect(self.rows, places)

    def models(self) -> KeptRows:
        """Rows of the nodes, of which some are read at a time."""
        return KeptRows(
            form=FullForm(),
            width=self.rows.shape[1],
            dtype=self.rows.dtype,
            space=self.space,
            parts=[[self.rows[: self.n]]],
            origin=(self.origin,) if len(self.origin) else None,
            written=self.written[: self.n],
        )

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Rows as named arrays, for a checkpoint."""
        return {"rows.0": self.rows.numpy(), "rows.written": self.written}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Continue from a value of `state`."""
        values, written = state["rows.0"], np.array(state["rows.written"], dtype=np.bool_)
        on_their_way = np.ones(len(values) - len(written), dtype=np.bool_)
        self.rows = self.space.holding(self.rows, values, np.concatenate([written, on_their_way]))
        self.written = written

    def _copy_rows(self, origins: Tensor, places: Tensor) -> None:
        at_once = max(1, _COPIED_AT_ONCE // self.rows.shape[1])
        for start in range(0, len(origins), at_once):
            part = slice(start, start + at_once)
            self._begin(np.unique(torch.cat([origins[part], places[part]]).numpy()))
            self.rows.index_copy_(0, places[part], self.rows.index_select(0, origins[part]))

    def _add_rows(self, extra: int) -> None:
        self.rows = self.space.longer(self.rows, extra)


def read_ahead(
    blocks: Blocks, waves: Iterator[tuple[int, int]]
) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
    """Parts of waves of about `READ_AHEAD` updates, and the places that these read or write, ascending."""
    size = max(1, READ_AHEAD // blocks.columns.shape[2])
    for start, end in waves:
        for first in range(start, end, size):
            last = min(first + size, end)
            yield first, last, np.unique(blocks.columns[first:last, [0, 1, 3, 5]])


def new_paged_table(first: Nodes, packing: Packing, space: InFiles, *, nodes: int) -> PagedTable:
    """Table of nodes that have not trained yet, without slots.

    Parameters
    ----------
    first : Nodes
        One if all start alike, else ``nodes`` of them.
    packing : Packing
    space : InFiles
    nodes : int
    """
    first_rows, first_kept = packing.pack(first)
    device, alike = torch.device("cpu"), len(first_rows) == 1
    rows = space.of(nodes + 1, (packing.width,), first_rows.dtype)
    if not alike:
        space.begin(rows, np.arange(nodes), first_rows)
        space.begin(rows, np.array([nodes]), first_rows[:1])
    return PagedTable(
        rows=rows,
        ages=spread(first.ages, nodes=nodes, device=device),
        kept=spread(first_kept, nodes=nodes, device=device),
        steps=np.zeros(nodes, dtype=np.int64),
        versions=np.zeros(nodes + 1, dtype=np.int64),
        space=space,
        origin=first_rows if alike else first_rows[:0],
        written=np.full(nodes + 1, not alike),
    )
