"""Padding of batches: samples of weight 0, by which batches of several sizes go through one programme."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gossipfl.tasks import Task
from gossipfl.tasks.loss_kinds import loss_kind
from gossipfl.tasks.samples import Tree, Weighted, map_leaves, take
from gossipfl.training.gradient import RowGradients

__all__ = ["require_padding"]

_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}


def require_padding(task: Task, gradients: RowGradients, samples: tuple[Tree, Tree]) -> None:
    """Require that samples of weight 0 change nothing, as far as can be seen: by the loss, and by a trial.

    Parameters
    ----------
    task : Task
    gradients : RowGradients
        Which can be batched.
    samples : tuple of Tree
        A few that differ, inputs and targets ``[k, ...]``.

    Raises
    ------
    RuntimeError
        If they do, or could.
    """
    kind = loss_kind(task.loss)
    if kind.name is None:
        raise RuntimeError("its loss is none of torch's, and may not be a mean over samples")
    weight = kind.settings.get("weight", kind.settings.get("_buffers", {}).get("weight"))
    if weight is not None or kind.settings.get("reduction", "mean") == "sum":
        raise RuntimeError("its loss is no plain mean over samples")
    if not gradients.all_count_alike:
        raise RuntimeError("some of its samples count less than others")
    rows = torch.stack([task.initial_row()] * 2).to(gradients.dtype)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(rows.shape[1], generator=generator).to(rows)
    rows[1, : gradients.trainable_size] += 0.05 * noise[: gradients.trainable_size]
    batch = map_leaves(lambda leaf: torch.stack([leaf, leaf.flip(0)]), samples)
    plain = gradients.together(rows, *batch)
    padded = gradients.together(rows, *_padded(*batch))
    for one, other in zip(plain[:4], padded[:4], strict=True):
        tolerance = _TOLERANCE[gradients.dtype] * max(_size(one), 1e-3)
        if not torch.allclose(one, other, rtol=0, atol=tolerance, equal_nan=True):
            raise RuntimeError("samples that count for nothing change what it learns from the others")


def _padded(inputs: Tree, targets: Tree) -> tuple[Tree, Weighted]:
    """Batches ``[B, S, ...]`` with their first two samples once more, which count for nothing."""
    size = _first(targets).shape[1]
    more = torch.arange(size + 2) % size
    at: Callable[[Any], Any] = lambda tree: take(tree, (slice(None), more))  # noqa: E731
    weights = (torch.arange(size + 2) < size).float().expand(len(_first(targets)), -1)
    return at(inputs), Weighted(at(targets), weights)


def _first(tree: Tree) -> Tensor:
    found: list[Tensor] = []
    map_leaves(found.append, tree)
    return found[0]


def _size(tensor: Tensor) -> float:
    return float(tensor.abs().max()) if tensor.numel() else 0.0
