"""One block of updates: the algorithm and the training of nodes, on rows gathered from one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.algorithms.author_calls import on_answer, on_clock, on_receipt
from gossipfl.algorithms.in_transit import as_received
from gossipfl.algorithms.messages import MessageAlgorithm, Update
from gossipfl.codecs.draws import receipt_keys
from gossipfl.outgoing import IN_FULL, Draws, Pipeline
from gossipfl.tasks.failures import training_failures_named
from gossipfl.tasks.samples import Tree
from gossipfl.training import Nodes, Trainer
from sims.compiler.operations import ON_ANSWER, ON_CLOCK
from sims.engine.table import Outcome
from sims.rows.packing import Packing

__all__ = ["UpdateBlock"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateBlock:
    """One operation of an algorithm on a block of nodes: the function that is traced and compiled.

    Parameters
    ----------
    trainer : Trainer
    batch : callable
        Inputs and targets of a local step, from leaves ``[B, local_steps, S, ...]``.
    algorithm : MessageAlgorithm
    packing : Packing
        Of the table.
    operation : int
        Of `sims.compiler.operations`.
    train : bool
        Whether nodes train in it.
    outgoing : Pipeline
        Pipeline applied to the rows of messages as they leave.
    """

    trainer: Trainer
    batch: Callable[[tuple[Tensor, ...], int], tuple[Tree, Tree]]
    algorithm: MessageAlgorithm
    packing: Packing
    operation: int
    train: bool
    outgoing: Pipeline = IN_FULL

    def __call__(
        self,
        rows: Tensor,
        ages: Tensor,
        kept: Tensor,
        counters: Tensor,
        columns: Tensor,
        *leaves: Tensor,
    ) -> Outcome:
        """Compute the next state of B nodes of the table, which is not changed.

        Parameters
        ----------
        rows, ages, kept : Tensor
            The `Table`.
        counters : Tensor
            Training steps of each node before this window, int64 ``[N]``.
        columns : Tensor
            int64 ``[6, B]``: as in `sims.engine.blocks.Blocks`; where messages are not sent in full, with a
            seventh line: numbers of the nodes in the network, on which what is drawn for messages depends.
        leaves : Tensor
            Batches, ``[B, local_steps, S, ...]``.

        Returns
        -------
        rows, ages, kept : Tensor
            Of the B nodes.
        """

        def update(nodes: Nodes) -> Nodes:
            with training_failures_named():
                for step in range(leaves[0].shape[1] if self.train else 0):
                    nodes = self.trainer.step_on(nodes, *self.batch(leaves, step))[0]
            return nodes

        steps = torch.zeros_like(columns[4])
        if self.trainer.settings.clock == "step":  # nothing else depends on how many steps a node has done
            before = counters.index_select(0, columns[0].clamp(max=len(counters) - 1))
            steps = before + columns[4] * self.trainer.settings.local_steps
        return self._outcome(rows, ages, kept, columns, steps, update)

    def row_by_row(
        self,
        rows: Tensor,
        ages: Tensor,
        kept: Tensor,
        columns: Tensor,
        *,
        owners: NDArray[np.int64],
        steps: NDArray[np.int64],
    ) -> Outcome:
        """Compute the same for modules that cannot be batched over rows, with their random draws.

        Parameters
        ----------
        rows, ages, kept, columns : Tensor
            As before.
        owners, steps : ndarray
            The nodes, and training steps each has done, int64 ``[B]``.
        """

        def update(nodes: Nodes) -> Nodes:
            return self.trainer.train(nodes, owners)[0] if self.train else nodes

        return self._outcome(rows, ages, kept, columns, torch.from_numpy(steps), update)

    def _outcome(
        self,
        rows: Tensor,
        ages: Tensor,
        kept: Tensor,
        columns: Tensor,
        steps: Tensor,
        update: Update,
    ) -> Outcome:
        own_kept = kept.index_select(0, columns[0])

        def gathered(places: Tensor) -> Nodes:
            """State at some places; what stays with nodes is always the block's own."""
            return self.packing.unpack(
                rows.index_select(0, places), own_kept, ages=ages.index_select(0, places), steps=steps
            )

        after = self._updated(gathered, columns, update)
        packed, packed_kept = self.packing.pack(after)
        return packed, after.ages, packed_kept

    def _updated(self, gathered: Callable[[Tensor], Nodes], columns: Tensor, update: Update) -> Nodes:
        node, source, part, begun = columns[0], columns[1], columns[2], columns[5]
        rule, shared_size = self.algorithm, self.trainer.layout.shared_size
        nodes = gathered(node)
        if self.operation == ON_CLOCK:
            return on_clock(rule, nodes, shared_size=shared_size, update=update)
        message = rule.emit(gathered(source), shared_size=shared_size, part=part)
        if not self.outgoing.is_lossless:
            message = as_received(message, self.outgoing, Draws(keys=receipt_keys(part, columns[6])))
        if self.operation == ON_ANSWER:
            return on_answer(rule, nodes, message, gathered(begun), update=update)
        return on_receipt(rule, nodes, message, update=update)
