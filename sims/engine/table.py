"""The table of a message-driven simulation: the state of all nodes, and of models on their way, as rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.training import Nodes
from sims.engine.packing import Packing

__all__ = ["Outcome", "Table", "new_table"]

Outcome = tuple[Tensor, Tensor, Tensor]


@dataclass(slots=True, kw_only=True)
class Table:
    """State of all nodes, and models on their way, as rows of one table.

    Places ``0 … N − 1`` are the nodes, N is never read, and slots start at ``N + 1``.

    Parameters
    ----------
    rows : Tensor
        Models and whatever travels with them (`sims.engine.packing.Packing`), shape ``[places, width]``.
    ages : Tensor
        Shape ``[places]``, int64; ``[places, parts]`` where parts of models have ages of their own.
    kept : Tensor
        What stays with the nodes, shape ``[N + 1, width]``.
    steps : ndarray
        Training steps each node has done, int64 ``[N]``. Nothing on a device reads them: only batches do.
    versions : ndarray
        Number of changes of the model at each place, int64 ``[places]``; counted only where messages are received
        one wave at a time (`sims.engine.receiving`).
    """

    rows: Tensor
    ages: Tensor
    kept: Tensor
    steps: NDArray[np.int64]
    versions: NDArray[np.int64]

    @property
    def n(self) -> int:
        """Number of nodes."""
        return len(self.steps)

    def write(self, columns: Tensor, numbers: NDArray[np.int64], outcome: Outcome) -> None:
        """Write updated nodes to their own places, and to slots where the block's columns say so.

        ``numbers`` are the same columns, in the memory of the processor.
        """
        rows, ages, kept = outcome
        if self.rows.device.type == "cpu":
            scatter(self.rows.numpy(), _columns(self.ages), numbers, rows.numpy(), _columns(ages), self.n)
        else:
            for places in (columns[0], columns[3]):
                self.rows.index_copy_(0, places, rows)
                self.ages.index_copy_(0, places, ages)
        if kept.shape[1]:
            self.kept.index_copy_(0, columns[0], kept)

    def copy(self, origins: Tensor, places: Tensor) -> None:
        """Copy rows from nodes to slots."""
        self.rows.index_copy_(0, places, self.rows.index_select(0, origins))
        self.ages.index_copy_(0, places, self.ages.index_select(0, origins))
        self.versions[places.cpu().numpy()] = self.versions[origins.cpu().numpy()]

    def make_room(self, slots: int) -> None:
        """Make sure there are at least this many slots."""
        missing = self.n + 1 + slots - len(self.rows)
        if missing > 0:
            extra = missing + slots // 8
            self.rows = torch.cat([self.rows, self.rows.new_zeros(extra, self.rows.shape[1])])
            self.ages = torch.cat([self.ages, self.ages.new_zeros(extra, *self.ages.shape[1:])])
        self.versions = np.pad(self.versions, (0, max(0, len(self.rows) - len(self.versions))))


def new_table(first: Nodes, packing: Packing, *, nodes: int, device: torch.device) -> Table:
    """Table of nodes that have not trained yet, without slots.

    Parameters
    ----------
    first : Nodes
        One if all start alike, else ``nodes`` of them.
    packing : Packing
    nodes : int
    device : torch.device
    """
    first_rows, first_kept = packing.pack(first)

    def spread(values: Tensor) -> Tensor:
        table = torch.empty(nodes + 1, *values.shape[1:], dtype=values.dtype, device=device)
        table[:nodes] = values.to(device)
        table[nodes] = values[0].to(device)
        return table

    return Table(
        rows=spread(first_rows),
        ages=spread(first.ages),
        kept=spread(first_kept),
        steps=np.zeros(nodes, dtype=np.int64),
        versions=np.zeros(nodes + 1, dtype=np.int64),
    )


def _columns(ages: Tensor) -> NDArray[np.int64]:
    found = ages.numpy()
    return found if found.ndim == 2 else found[:, None]


@njit(cache=True, nogil=True, _nrt=False)
def scatter(
    rows: NDArray[np.floating],
    ages: NDArray[np.int64],
    columns: NDArray[np.int64],
    new_rows: NDArray[np.floating],
    new_ages: NDArray[np.int64],
    nowhere: int,
) -> None:
    """Write rows to the places node and keep of a block; the place ``nowhere``, padding, is left alone."""
    node, keep = columns[0], columns[3]
    for b in range(len(node)):
        for place in (node[b], keep[b]):
            if place != nowhere:
                for k in range(rows.shape[1]):
                    rows[place, k] = new_rows[b, k]
                for k in range(ages.shape[1]):
                    ages[place, k] = new_ages[b, k]
