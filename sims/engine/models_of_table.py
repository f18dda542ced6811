"""Models of all nodes, as they are read from the table of a message-driven simulation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.rows import Rows
from sims.engine.kept_rows import KeptRows, Stored
from sims.engine.table import Table
from sims.rows.packing import Packing
from sims.world import World

__all__ = ["ModelsOfTable"]

_NUMBERS_AT_ONCE = 1 << 21


class ModelsOfTable:
    """Whatever has a table, and is asked for the models in it."""

    world: World
    device: torch.device
    packing: Packing
    table: Table

    def rows(self) -> Tensor:
        """Rows of all nodes, ``[N, D]``: a view, valid until the next window, where they are kept in full."""
        rows = self.rows_in_parts()
        return (rows if isinstance(rows, Tensor) else rows[:])[:, : self.world.layout.size]

    def rows_in_parts(self) -> Rows:
        """Rows of all nodes, with what travels with them, to be read some at a time."""
        return self.table.models()

    def stored(self) -> Sequence[Stored | NDArray[np.generic]]:
        """Models of all nodes as they are kept."""
        rows = self.table.models()
        if isinstance(rows, KeptRows) and self.world.scenario.engine.is_compact:
            return rows.stored()
        if isinstance(rows, Tensor):
            return [self.models().cpu().numpy()]
        n, size = self.table.n, self.world.layout.size
        places = np.arange(n)
        at_once = max(1, _NUMBERS_AT_ONCE // self.packing.width)
        parts = (self.models(places[start : start + at_once]).numpy() for start in range(0, n, at_once))
        return [Stored(self.models(places[:0]).numpy().dtype, (n, size), parts)]

    def models(self, nodes: NDArray[np.int64] | None = None) -> Tensor:
        """Models of nodes to use and to evaluate, ``[k, D]``; by default of all N."""
        table, n = self.table, self.table.n
        steps = torch.from_numpy(table.steps)
        rows, kept, ages = table.models(), table.kept[:n], table.ages[:n]
        if nodes is not None or not isinstance(rows, Tensor):
            numbers = np.arange(n) if nodes is None else nodes
            places = torch.from_numpy(numbers).to(self.device)
            rows, kept, ages = (each.index_select(0, places) for each in (rows, kept, ages))
            steps = steps[torch.from_numpy(numbers)]
        return self.packing.unpack(rows, kept, ages=ages, steps=steps).models[:, : self.world.layout.size]
