"""Tensors that batches are gathered into, seen as bytes too, so that one compiled copy serves every dtype."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.training import NodeData

__all__ = ["BatchBuffer", "as_bytes", "batch_buffer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchBuffer:
    """A block's batches.

    Parameters
    ----------
    inputs, targets : Tensor
        Shape ``[B, local_steps, S, ...]``.
    input_bytes, target_bytes : ndarray
        The same memory as uint8 ``[B · local_steps · S, bytes of a sample]``.
    """

    inputs: Tensor
    targets: Tensor
    input_bytes: NDArray[np.uint8]
    target_bytes: NDArray[np.uint8]


def batch_buffer(data: NodeData, *, rows: int, local_steps: int, size: int) -> BatchBuffer:
    """Buffer for ``rows`` nodes, filled with the pool's first sample."""
    shape = (rows, local_steps, size)
    inputs = (
        data.inputs[0].expand(*shape, *data.inputs.shape[1:]).clone(memory_format=torch.contiguous_format)
    )
    targets = (
        data.targets[0].expand(*shape, *data.targets.shape[1:]).clone(memory_format=torch.contiguous_format)
    )
    return BatchBuffer(
        inputs=inputs,
        targets=targets,
        input_bytes=_bytes(inputs).reshape(rows * local_steps * size, -1),
        target_bytes=_bytes(targets).reshape(rows * local_steps * size, -1),
    )


def as_bytes(pool: Tensor) -> NDArray[np.uint8]:
    """Samples as bytes, uint8 ``[n, bytes of a sample]``: a view of contiguous pools, else a copy."""
    return _bytes(pool.contiguous()).reshape(len(pool), -1)


def _bytes(tensor: Tensor) -> NDArray[np.uint8]:
    return tensor.reshape(-1).view(torch.uint8).numpy()
