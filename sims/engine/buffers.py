"""Tensors that batches are gathered into, seen as bytes too, so that one compiled copy serves every dtype."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.tasks.samples import Tree, Weighted, flatten, leaves, take, unflatten
from gossipfl.training import NodeData, Trainer
from sims.engine.batches import gather_batches

__all__ = ["BatchBuffer", "Pool", "batch_buffer", "batches_of", "pool_of"]

Ints = NDArray[np.int64]
Bytes = tuple[NDArray[np.uint8], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """All samples, where batches are gathered from.

    Parameters
    ----------
    leaves : tuple of Tensor
        Of inputs and targets, ``[n, ...]``, on the device that computes.
    bytes : tuple of ndarray
        What is gathered on the CPU, uint8 ``[n, bytes]``: the samples there, else their numbers, for samples that
        already are on a card need not be sent to it again.
    """

    leaves: tuple[Tensor, ...]
    bytes: Bytes


def pool_of(data: NodeData, device: torch.device) -> Pool:
    """All samples of a simulation, for a device."""
    samples = tuple(leaves((data.inputs, data.targets)))
    if device.type == "cpu":
        return Pool(
            leaves=samples, bytes=tuple(_bytes(leaf.contiguous()).reshape(len(leaf), -1) for leaf in samples)
        )
    numbers = torch.arange(len(samples[0]), dtype=torch.int32)
    return Pool(
        leaves=tuple(leaf.to(device) for leaf in samples), bytes=(_bytes(numbers).reshape(len(numbers), -1),)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchBuffer:
    """A block's batches.

    Parameters
    ----------
    pool : Pool
        Where they come from.
    gathered : tuple of Tensor
        ``[B, local_steps, S, ...]`` of each tensor of a sample, or the numbers of samples.
    bytes : tuple of ndarray
        The same memory as uint8 ``[B · local_steps · S, bytes of a sample]``.
    weights : Tensor, optional
        Of padded batches, float32 ``[B, local_steps, S]``: 1 for samples that count, 0 for the others.
    """

    pool: Pool
    gathered: tuple[Tensor, ...]
    bytes: Bytes
    weights: Tensor | None = None

    def on(self, device: torch.device) -> tuple[Tensor, ...]:
        """Batches of each tensor of a sample on a device, ``[B, local_steps, S, ...]``; and weights, if padded."""
        found = self._samples_on(device)
        return found if self.weights is None else (*found, self.weights.to(device))

    def _samples_on(self, device: torch.device) -> tuple[Tensor, ...]:
        if device.type == "cpu":
            return self.gathered
        (numbers,) = self.gathered
        chosen = numbers.to(device)
        return tuple(
            leaf.index_select(0, chosen.reshape(-1)).reshape(*numbers.shape, *leaf.shape[1:])
            for leaf in self.pool.leaves
        )

    def gather(self, trainer: Trainer, nodes: Ints, updates: Ints, steps: Ints) -> None:
        """Fill it with the next batches of nodes; see `gather_batches`."""
        data, local_steps = trainer.data, self.gathered[0].shape[1]
        offsets, indices, numbers = data.offsets, data.indices, data.numbers
        seed = trainer.settings.seed
        gather_batches(
            self.bytes, self.pool.bytes, local_steps, seed, nodes, updates, steps, offsets, indices, numbers
        )
        if self.weights is not None:
            size = self.weights.shape[2]
            counts = data.counts[np.minimum(nodes, len(numbers) - 1)]
            self.weights.numpy()[:] = (np.arange(size) < counts[:, None])[:, None]


def batch_buffer(pool: Pool, *, rows: int, local_steps: int, size: int, padded: bool = False) -> BatchBuffer:
    """Buffer for ``rows`` nodes, filled with the pool's first sample."""
    shape = (rows, local_steps, size)
    here = pool.leaves[0].device.type == "cpu"
    of_samples = pool.leaves if here else (torch.zeros(1, dtype=torch.int32),)
    filled = tuple(
        leaf[0].expand(*shape, *leaf.shape[1:]).clone(memory_format=torch.contiguous_format)
        for leaf in of_samples
    )
    return BatchBuffer(
        pool=pool,
        gathered=filled,
        bytes=tuple(_bytes(leaf).reshape(rows * local_steps * size, -1) for leaf in filled),
        weights=torch.ones(shape) if padded else None,
    )


def batches_of(data: NodeData) -> Callable[[tuple[Tensor, ...], int], tuple[Tree, Tree]]:
    """Function that makes inputs and targets of one step from the leaves of a buffer, the last maybe weights."""
    form = flatten((data.inputs, data.targets))[1]

    def at_step(found: tuple[Tensor, ...], step: int) -> tuple[Tree, Tree]:
        samples, weights = found[: form.num_leaves], found[form.num_leaves :]
        inputs, targets = take(unflatten(samples, form), (slice(None), step))
        return inputs, Weighted(targets, weights[0][:, step]) if weights else targets

    return at_step


def _bytes(tensor: Tensor) -> NDArray[np.uint8]:
    return tensor.reshape(-1).view(torch.uint8).numpy()
