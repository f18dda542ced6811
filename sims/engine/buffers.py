"""Tensors that batches are gathered into, seen as bytes too, so that one compiled copy serves every dtype."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.tasks.samples import Tree, flatten, leaves, take, unflatten
from gossipfl.training import NodeData, Trainer
from sims.engine.batches import gather_batches

__all__ = ["BatchBuffer", "as_bytes", "batch_buffer", "batches_of"]

Ints = NDArray[np.int64]
Bytes = tuple[NDArray[np.uint8], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchBuffer:
    """A block's batches.

    Parameters
    ----------
    leaves : tuple of Tensor
        Of inputs and targets: shape ``[B, local_steps, S, ...]``.
    bytes : tuple of ndarray
        The same memory as uint8 ``[B · local_steps · S, bytes of a sample]``.
    """

    leaves: tuple[Tensor, ...]
    bytes: Bytes

    def on(self, device: torch.device) -> tuple[Tensor, ...]:
        """Leaves on a device."""
        return self.leaves if device.type == "cpu" else tuple(leaf.to(device) for leaf in self.leaves)

    def gather(self, trainer: Trainer, pool: Bytes, nodes: Ints, updates: Ints, steps: Ints) -> None:
        """Fill it with the next batches of nodes from a pool; see `gather_batches`."""
        data, local_steps = trainer.data, self.leaves[0].shape[1]
        offsets, indices, numbers = data.offsets, data.indices, data.numbers
        seed = trainer.settings.seed
        gather_batches(self.bytes, pool, local_steps, seed, nodes, updates, steps, offsets, indices, numbers)


def batch_buffer(data: NodeData, *, rows: int, local_steps: int, size: int) -> BatchBuffer:
    """Buffer for ``rows`` nodes, filled with the pool's first sample."""
    shape = (rows, local_steps, size)
    filled = tuple(
        leaf[0].expand(*shape, *leaf.shape[1:]).clone(memory_format=torch.contiguous_format)
        for leaf in leaves((data.inputs, data.targets))
    )
    return BatchBuffer(
        leaves=filled,
        bytes=tuple(_bytes(leaf).reshape(rows * local_steps * size, -1) for leaf in filled),
    )


def as_bytes(data: NodeData) -> Bytes:
    """All samples as bytes, uint8 ``[n, bytes of a sample]``: views of contiguous pools, else copies."""
    pool = leaves((data.inputs, data.targets))
    return tuple(_bytes(leaf.contiguous()).reshape(len(leaf), -1) for leaf in pool)


def batches_of(data: NodeData) -> Callable[[tuple[Tensor, ...], int], tuple[Tree, Tree]]:
    """Function that makes inputs and targets of one step from the leaves of a buffer."""
    form = flatten((data.inputs, data.targets))[1]

    def at_step(found: tuple[Tensor, ...], step: int) -> tuple[Tree, Tree]:
        inputs, targets = take(unflatten(found, form), (slice(None), step))
        return inputs, targets

    return at_step


def _bytes(tensor: Tensor) -> NDArray[np.uint8]:
    return tensor.reshape(-1).view(torch.uint8).numpy()
