"""The table of a message-driven simulation: the state of all nodes, and of models on their way, as rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.machine import available_memory
from gossipfl.rows import Rows
from gossipfl.training import Nodes
from sims.engine.blocks import Blocks
from sims.rows.packing import Packing

__all__ = ["Outcome", "Table", "new_table", "spread"]

Outcome = tuple[Tensor, Tensor, Tensor]

_COPIED_AT_ONCE = 1 << 21  # numbers
_SHARE_OF_ROOM = 0.8  # of the memory there is: where addresses are limited, others need some, too


@dataclass(slots=True, kw_only=True)
class Table:
    """State of all nodes, and models on their way, as rows of one table.

    Places ``0 … N − 1`` are the nodes, N is never read, and slots start at ``N + 1``.

    Parameters
    ----------
    rows : Tensor
        Models and whatever travels with them (`sims.rows.packing.Packing`), shape ``[places, width]``.
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

    def arguments(self, counters: Tensor, columns: Tensor, *, answers: bool) -> tuple[Tensor, ...]:
        """What a block of updates is computed from: rows, ages, kept, counters and columns, as of `UpdateBlock`.

        Parameters
        ----------
        counters : Tensor
            Training steps of each node before this window, int64 ``[N]``.
        columns : Tensor
            Of the block, int64 ``[6, B]``.
        answers : bool
            Whether updates begin at models of earlier times.
        """
        if self.rows.device.type == "cpu":
            return self.rows, self.ages, self.kept, counters, columns
        # What is captured may not read all of a table.
        return self._of_block(counters, columns, answers=answers)

    def _of_block(self, counters: Tensor, columns: Tensor, *, answers: bool) -> tuple[Tensor, ...]:
        """Gather what a block reads as a small table of its own.

        Places 0 … B − 1 are its nodes, then come the models that they take in, and those that their steps were
        begun at.
        """
        size, nodes = columns.shape[1], columns[0]
        # Not by a list of lines, which would be copied to a card.
        places = torch.cat([columns[line] for line in ((0, 1, 5) if answers else (0, 1))])
        own = columns.clone()
        for line, at in ((0, 0), (1, 1), (5, 2 if answers else 0)):
            own[line] = torch.arange(at * size, (at + 1) * size, device=own.device)
        counted = counters.index_select(0, nodes.clamp(max=len(counters) - 1))
        return (
            self._read(places),
            self.ages.index_select(0, places),
            self.kept.index_select(0, nodes),
            counted,
            own,
        )

    def write(
        self, columns: Tensor, numbers: NDArray[np.int64], outcome: Outcome, *, steps: Tensor | None = None
    ) -> None:
        """Write updated nodes to their own places, and to slots where the block's columns say so.

        Parameters
        ----------
        columns : Tensor
            Of the block, int64 ``[6, B]``.
        numbers : ndarray
            The same, in the memory of the processor.
        outcome : tuple of Tensor
        steps : Tensor, optional
            Training steps that these nodes have done, int64 ``[B]``; needed only where rows are rounded by them.
        """
        del steps
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
        self._copy_rows(origins, places)
        self.ages.index_copy_(0, places, self.ages.index_select(0, origins))
        self.versions[places.cpu().numpy()] = self.versions[origins.cpu().numpy()]

    def make_room(self, slots: int) -> None:
        """Make sure there are at least this many slots."""
        missing = self.n + 1 + slots - len(self.ages)
        if missing > 0:
            extra = missing + slots // 8
            self._add_rows(extra)
            self.ages = torch.cat([self.ages, self.ages.new_zeros(extra, *self.ages.shape[1:])])
        self.versions = np.pad(self.versions, (0, max(0, len(self.ages) - len(self.versions))))

    def pieces(self, blocks: Blocks) -> Iterator[tuple[int, int]]:
        """Ranges of blocks to run one after another: waves, unless there is something to do between."""
        return pairwise([0, *blocks.wave_ends])

    def models(self) -> Rows:
        """Rows of the nodes, of which some are read at a time, ``[N, width]``."""
        return self.rows[: self.n]

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Rows as named arrays, for a checkpoint."""
        return {"rows": self.rows.cpu().numpy()}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Continue from a value of `state`."""
        self.rows = torch.from_numpy(state["rows"]).to(self.rows.device)

    def _read(self, places: Tensor) -> Tensor:
        return self.rows.index_select(0, places)

    def _copy_rows(self, origins: Tensor, places: Tensor) -> None:
        for start in range(0, len(origins), at_once := max(1, _COPIED_AT_ONCE // self.rows.shape[1])):
            part = slice(start, start + at_once)
            self.rows.index_copy_(0, places[part], self.rows.index_select(0, origins[part]))

    def _add_rows(self, extra: int) -> None:
        """Make the table longer: in its own memory while that has room, for a copy would need as much again."""
        places, width = len(self.rows) + extra, self.rows.shape[1]
        if self.rows.untyped_storage().nbytes() >= places * width * self.rows.element_size():
            self.rows = self.rows.as_strided((places, width), (width, 1))
        else:
            self.rows = torch.cat([self.rows, self.rows.new_zeros(extra, width)])


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
    return Table(
        rows=spread(first_rows, nodes=nodes, device=device, room=_room(first_rows, nodes, device)),
        ages=spread(first.ages, nodes=nodes, device=device),
        kept=spread(first_kept, nodes=nodes, device=device),
        steps=np.zeros(nodes, dtype=np.int64),
        versions=np.zeros(nodes + 1, dtype=np.int64),
    )


def _room(first_rows: Tensor, nodes: int, device: torch.device) -> int:
    """Rows for slots that cost nothing until they are used: memory that nobody has written to."""
    if device.type != "cpu":
        return 0
    fitting = int(_SHARE_OF_ROOM * available_memory()) // max(1, first_rows[0].nbytes)
    return max(0, min(3 * nodes, fitting - nodes))


def spread(values: Tensor, *, nodes: int, device: torch.device, room: int = 0) -> Tensor:
    """What nodes have, or one for all, at the first N + 1 places, with room for more behind them."""
    table = torch.empty(nodes + 1 + room, *values.shape[1:], dtype=values.dtype, device=device)[: nodes + 1]
    table[:nodes] = values.to(device)
    table[nodes] = values[0].to(device)
    return table


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
