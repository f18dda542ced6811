"""One block of updates: the algorithm and the training of peers, on rows gathered from one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.algorithms import ADPSGD, PartialGossip, PushSum
from gossipfl.codecs import Compressor
from gossipfl.training import Nodes, Trainer
from sims.compiler.timeline.states import HALVE, STEP
from sims.world import MessageRule

__all__ = ["Outcome", "Table", "UpdateBlock", "new_table", "with_weights"]

Outcome = tuple[Tensor, Tensor, Tensor]


@dataclass(slots=True, kw_only=True)
class Table:
    """State of all nodes, and models on their way, as rows of one table.

    Places ``0 … N − 1`` are the nodes, N is a place nobody reads, and from ``N + 1`` on are slots.

    Parameters
    ----------
    rows : Tensor
        Shape ``[places, D]``, or ``[places, D + 1]`` where models have a weight, which comes last.
    ages : Tensor
        Shape ``[places]``, int64; ``[places, parts]`` where parts of models have ages of their own.
    momentum : Tensor
        Shape ``[N + 1, momentum_size]``.
    steps : ndarray
        Training steps each node has done, int64 ``[N]``. Nothing on a device reads them: only batches do.
    """

    rows: Tensor
    ages: Tensor
    momentum: Tensor
    steps: NDArray[np.int64]

    @property
    def n(self) -> int:
        """Number of nodes."""
        return len(self.steps)

    def write(self, columns: Tensor, outcome: Outcome) -> None:
        """Write updated nodes to their own places, and to slots where the block's columns say so."""
        rows, ages, momentum = outcome
        node, keep = columns[0], columns[3]
        if self.rows.device.type == "cpu":
            scatter(
                self.rows.numpy(), _columns(self.ages), columns.numpy(), rows.numpy(), _columns(ages), self.n
            )
        else:
            for places in (node, keep):
                self.rows.index_copy_(0, places, rows)
                self.ages.index_copy_(0, places, ages)
        if momentum.shape[1]:
            self.momentum.index_copy_(0, node, momentum)

    def copy(self, origins: Tensor, places: Tensor) -> None:
        """Copy rows from nodes to slots."""
        self.rows.index_copy_(0, places, self.rows.index_select(0, origins))
        self.ages.index_copy_(0, places, self.ages.index_select(0, origins))

    def make_room(self, slots: int) -> None:
        """See that there are at least so many slots."""
        missing = self.n + 1 + slots - len(self.rows)
        if missing > 0:
            extra = missing + slots // 8
            self.rows = torch.cat([self.rows, self.rows.new_zeros(extra, self.rows.shape[1])])
            self.ages = torch.cat([self.ages, self.ages.new_zeros(extra, *self.ages.shape[1:])])


def new_table(
    first_rows: Tensor,
    *,
    nodes: int,
    slots: int,
    momentum_size: int,
    device: torch.device,
    parts: int = 1,
) -> Table:
    """Table of nodes that have not trained yet.

    Parameters
    ----------
    first_rows : Tensor
        Shape ``[1, D]`` if all start alike, else ``[nodes, D]``.
    nodes, slots, momentum_size : int
    device : torch.device
    parts : int
        How many parts of a model have an age of their own.
    """
    places = nodes + 1 + slots
    rows = torch.empty(places, first_rows.shape[1], dtype=first_rows.dtype, device=device)
    rows[:nodes] = first_rows.to(device)
    rows[nodes:] = first_rows[0].to(device)
    return Table(
        rows=rows,
        ages=torch.zeros((places,) if parts == 1 else (places, parts), dtype=torch.int64, device=device),
        momentum=torch.zeros(nodes + 1, momentum_size, dtype=first_rows.dtype, device=device),
        steps=np.zeros(nodes, dtype=np.int64),
    )


def with_weights(first_rows: Tensor, rule: MessageRule) -> Tensor:
    """First rows, and the weight 1 behind each where models have one."""
    if not isinstance(rule, PushSum):
        return first_rows
    return torch.cat([first_rows, torch.ones_like(first_rows[:, :1])], dim=1)


def _columns(ages: Tensor) -> NDArray[np.int64]:
    return ages.view(len(ages), -1).numpy()


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


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateBlock:
    """Takes in a block of models, trains, or both: the function that is traced and compiled.

    Parameters
    ----------
    trainer : Trainer
    algorithm : MessageRule
    operation : int
        Of `sims.compiler.timeline.states`.
    train : bool
        Whether models are trained in it.
    codec : Compressor, optional
        How models are sent, drawing nothing at random; in full unless given.
    """

    trainer: Trainer
    algorithm: MessageRule
    operation: int
    train: bool
    codec: Compressor | None = None

    def __call__(
        self,
        rows: Tensor,
        ages: Tensor,
        momentum: Tensor,
        columns: Tensor,
        inputs: Tensor,
        targets: Tensor,
    ) -> Outcome:
        """Compute what B nodes of the table become; the table is left as it is.

        Parameters
        ----------
        rows, ages, momentum : Tensor
            The `Table`.
        columns : Tensor
            int64 ``[6, B]``: as in `sims.engine.blocks.Blocks`.
        inputs, targets : Tensor
            Batches, ``[B, local_steps, S, ...]``.

        Returns
        -------
        rows, ages, momentum : Tensor
            Of the B nodes.
        """

        def update(nodes: Nodes) -> Nodes:
            for step in range(inputs.shape[1] if self.train else 0):
                nodes = self.trainer.step_on(nodes, inputs[:, step], targets[:, step], [])[0]
            return nodes

        steps = ages.new_zeros(columns.shape[1])
        return self._outcome(rows, ages, momentum, columns, steps, update)

    def row_by_row(self, table: Table, columns: Tensor, steps: NDArray[np.int64]) -> Outcome:
        """Compute the same for modules that cannot be batched over rows: draws what they draw at random."""
        owners = columns[0].cpu().numpy()

        def update(nodes: Nodes) -> Nodes:
            return self.trainer.train(nodes, owners)[0] if self.train else nodes

        counters = torch.from_numpy(steps)
        return self._outcome(table.rows, table.ages, table.momentum, columns, counters, update)

    def _outcome(
        self,
        rows: Tensor,
        ages: Tensor,
        momentum: Tensor,
        columns: Tensor,
        steps: Tensor,
        update: Callable[[Nodes], Nodes],
    ) -> Outcome:
        own_momentum = momentum.index_select(0, columns[0])

        def gathered(places: Tensor) -> Nodes:
            size, found = self.trainer.layout.size, rows.index_select(0, places)
            weighted = found.shape[1] > size
            return Nodes(
                rows=found[:, :size] if weighted else found,
                ages=ages.index_select(0, places),
                steps=steps,
                momentum=own_momentum,
                auxiliary={"weight": found[:, size]} if weighted else {},
            )

        after = self._updated(gathered, columns, update)
        weights = [weight[:, None] for weight in after.auxiliary.values()]
        packed = torch.cat([after.rows, *weights], dim=1) if weights else after.rows
        return packed, after.ages, after.momentum

    def _updated(
        self, gathered: Callable[[Tensor], Nodes], columns: Tensor, update: Callable[[Nodes], Nodes]
    ) -> Nodes:
        node, source, part, begun = columns[0], columns[1], columns[2], columns[5]
        rule, shared_size = self.algorithm, self.trainer.layout.shared_size
        nodes = gathered(node)
        match rule:
            case PushSum() if self.operation == HALVE:
                return rule.halve(nodes, shared_size=shared_size, update=update)
            case PushSum():
                return rule.absorb(nodes, rule.emit(gathered(source), shared_size=shared_size))
        message = rule.emit(gathered(source), shared_size=shared_size)
        if self.codec is not None:
            message = replace(
                message, shared=self.codec.compress(message.shared, keys=torch.zeros_like(node))
            )
        match rule:
            case ADPSGD() if self.operation == STEP:
                return rule.step(nodes, message, gathered(begun), update=update)
            case ADPSGD():
                return rule.average(nodes, message)
            case PartialGossip():
                return rule.absorb(nodes, message, part, update=update)
        return rule.absorb(nodes, message, update=update)
