"""Samples of all nodes, held once, and which node has which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from gossipfl.errors import InvalidPartition
from gossipfl.tasks.samples import Tree, count, in_memory, take

__all__ = ["NodeData"]


@dataclass(frozen=True)
class NodeData:
    """A pool of samples, and each node's own part of it.

    Parameters
    ----------
    inputs, targets : Tree
        The pool, shapes ``[n, ...]``: one sample a first index.
    offsets : ndarray
        Shape ``[N + 1]``, int64: node ``i`` owns ``indices[offsets[i]:offsets[i + 1]]``.
    indices : ndarray
        Shape ``[offsets[-1]]``, int64, into the pool.
    numbers : ndarray
        Shape ``[N]``, int64: the number by which each node's batches are drawn. A peer has one node here, and
        draws as the number it has in its network.
    """

    inputs: Tree
    targets: Tree
    offsets: NDArray[np.int64]
    indices: NDArray[np.int64]
    numbers: NDArray[np.int64]

    @classmethod
    def of_one_node(cls, inputs: Tree, targets: Tree, *, number: int = 0) -> NodeData:
        """All samples belong to one node: what a peer has."""
        everything = np.arange(count(targets), dtype=np.int64)
        return cls.partitioned(inputs, targets, [everything], numbers=np.array([number], dtype=np.int64))

    @classmethod
    def partitioned(
        cls,
        inputs: Tree,
        targets: Tree,
        parts: Sequence[NDArray[np.int64]],
        *,
        numbers: NDArray[np.int64] | None = None,
    ) -> NodeData:
        """Node ``i`` owns the samples ``parts[i]``, and is numbered ``i`` unless ``numbers`` says otherwise.

        Raises
        ------
        InvalidPartition
            If a node would own nothing, or an index is outside the pool.
        """
        parts = [np.asarray(part) for part in parts]
        if any(part.size and not np.issubdtype(part.dtype, np.integer) for part in parts):
            raise InvalidPartition(
                "a part is not a list of samples",
                expected="whole numbers, each the position of a sample in the pool",
                got=str(next(part.dtype for part in parts if not np.issubdtype(part.dtype, np.integer))),
            )
        counts = np.array([len(part) for part in parts], dtype=np.int64)
        if count(inputs) != count(targets):
            raise InvalidPartition(
                "inputs and targets differ in number", expected=count(inputs), got=count(targets)
            )
        if not len(counts) or counts.min() == 0:
            raise InvalidPartition(
                "a node would own no sample",
                expected="at least one sample a node",
                got=f"node {int(counts.argmin())} with none" if len(counts) else "no nodes",
                remedy="Use fewer peers, more data, or a less skewed partition.",
            )
        indices = np.concatenate(parts).astype(np.int64)
        if indices.min() < 0 or indices.max() >= count(targets):
            raise InvalidPartition(
                "an index lies outside the pool",
                expected=f"0 … {count(targets) - 1}",
                got=(int(indices.min()), int(indices.max())),
            )
        offsets = np.concatenate([[0], counts.cumsum()]).astype(np.int64)
        if numbers is None:
            numbers = np.arange(len(parts), dtype=np.int64)
        return cls(inputs, targets, offsets, indices, numbers)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Samples of each node, shape ``[N]``."""
        return np.diff(self.offsets)

    @property
    def in_memory(self) -> bool:
        """Whether no sample is read from disk when it is needed."""
        return in_memory((self.inputs, self.targets))

    def gather(self, nodes: NDArray[np.int64], positions: NDArray[np.int64]) -> tuple[Tree, Tree]:
        """Gather the samples at ``positions`` (``[B, S]``) of ``nodes`` (``[B]``), as ``[B, S, ...]``."""
        return self.at(self.indices[self.offsets[nodes][:, None] + positions])

    def at(self, index: NDArray[np.int64]) -> tuple[Tree, Tree]:
        """Inputs and targets of samples of the pool, ``[..., *sample]`` for an index of any shape."""
        chosen = torch.from_numpy(index)
        return take(self.inputs, chosen), take(self.targets, chosen)
