"""Gradients on shuffled batches, which visit all samples of a node once an epoch."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.tasks.samples import Tree, count, placed, signature, stacked
from gossipfl.training.augmentation import Transform, transformed
from gossipfl.training.batches import batch_positions, draw_seeds
from gossipfl.training.data import NodeData
from gossipfl.training.differentiated import Differentiated, concatenated
from gossipfl.training.gradient import RowGradients
from gossipfl.training.nodes import Nodes
from gossipfl.training.optimisers import Reached

__all__ = ["shuffled_gradients"]

Ints = NDArray[np.int64]


def shuffled_gradients(
    nodes: Nodes,
    owners: Ints,
    *,
    gradients: RowGradients,
    data: NodeData,
    batch_size: int,
    seed: int,
    transform: Transform | None,
) -> Differentiated:
    """Differentiate nodes' losses on their next batches; nodes with batches of equal size go together.

    Parameters
    ----------
    nodes : Nodes
        B nodes.
    owners : ndarray
        Whose samples each trains on, int64 ``[B]``.
    gradients : RowGradients
    data : NodeData
    batch_size : int
        All samples of a node that has fewer.
    seed : int
        Of batches, and of whatever is drawn at random for them.
    transform : callable, optional
        Changes batches at random.
    """

    def of_size(nodes: Nodes, owners: Ints, size: int) -> Differentiated:
        numbers, steps = data.numbers[owners], nodes.steps.cpu().numpy()
        positions = batch_positions(
            seed=seed, nodes=numbers, steps=steps, counts=data.counts[owners], size=size
        )
        row_by_row = transform is not None or not data.in_memory
        seeds = []
        if gradients.draws or row_by_row:
            seeds = draw_seeds(seed=seed, nodes=numbers, steps=steps)
        if not row_by_row:
            inputs, targets = placed(data.gather(owners, positions), nodes.rows.device)
            return gradients(nodes.rows, inputs, targets, seeds)
        batches = [
            _batch(data, owners[b : b + 1], positions[b : b + 1], transform, seeds[b])
            for b in range(len(owners))
        ]
        if len({(count(batch), signature(batch)) for batch in batches}) == 1:
            inputs, targets = placed(stacked(batches), nodes.rows.device)
            return gradients(nodes.rows, inputs, targets, seeds)
        each = []
        for b, batch in enumerate(batches):  # sequences padded to other lengths
            inputs, targets = placed(stacked([batch]), nodes.rows.device)
            each.append(gradients(nodes.rows[b : b + 1], inputs, targets, seeds[b : b + 1]))
        return concatenated(each)

    sizes = np.minimum(data.counts[owners], batch_size)
    if (sizes == sizes[0]).all():
        return of_size(nodes, owners, int(sizes[0]))
    whole = _empty(nodes.rows, gradients)
    for size in np.unique(sizes):
        where = np.flatnonzero(sizes == size)
        index = torch.from_numpy(where)
        found = of_size(nodes.select(index), owners[where], int(size))
        for of_all, of_these in zip(whole[:3], found[:3], strict=True):
            of_all[index] = of_these
        if gradients.changes_parameters:
            whole.trainable[index] = found.trainable
        if whole.reached is not None and found.reached is not None:
            whole.reached.tensors[index] = found.reached.tensors
    return whole


def _empty(rows: Tensor, gradients: RowGradients) -> Differentiated:
    width, widths = gradients.trainable_size, gradients.trained_widths
    return Differentiated(
        losses=rows.new_empty(len(rows)),
        gradients=rows.new_empty(len(rows), width),
        untrained=rows.new_empty(len(rows), rows.shape[1] - width),
        trainable=rows[:, :width].clone() if gradients.changes_parameters else rows[:, :width],
        reached=Reached(rows.new_ones(len(rows), len(widths), dtype=torch.bool), widths),
    )


def _batch(
    data: NodeData, owner: Ints, positions: Ints, transform: Transform | None, seed: int
) -> tuple[Tree, Tree]:
    """Batch of one node, ``[S, ...]``."""
    batch = data.at(data.indices[data.offsets[owner][:, None] + positions][0])
    return batch if transform is None else transformed(transform, batch, seed)
