"""Batches changed at random by a task's transform, as (seed, node, step) determine."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gossipfl.errors import InvalidTask
from gossipfl.global_generator import global_generator
from gossipfl.tasks.failures import failures_named
from gossipfl.tasks.samples import Tree, leaves, signature

__all__ = ["Transform", "require_repeatable", "transformed"]

Transform = Callable[[Tree, Tree, torch.Generator], tuple[Tree, Tree]]
_OWN_STREAM = 0x5DEECE66D  # the module's own draws have the same seeds


def transformed(transform: Transform, batch: tuple[Tree, Tree], seed: int) -> tuple[Tree, Tree]:
    """Apply a transform to inputs and targets, ``[S, ...]``, of one node.

    It draws from the generator it is given; what it draws from torch's global one comes from the seed too.
    """
    seed ^= _OWN_STREAM
    with global_generator() as shared:
        shared.manual_seed(seed)
        return transform(*batch, torch.Generator().manual_seed(seed))


def require_repeatable(transform: Transform, batch: tuple[Tree, Tree]) -> tuple[Tree, Tree]:
    """Try a transform, twice; what became of the batch.

    Raises
    ------
    InvalidTask
        If it fails, returns no inputs and targets, or another result for the same generator.
    """
    with failures_named("the transform of the task fails on a batch of its own data"):
        once, again = (transformed(transform, batch, 1) for _ in range(2))
        if not isinstance(once, tuple) or len(once) != 2:
            raise InvalidTask(
                "the transform of the task returned something else",
                expected="a pair (inputs, targets)",
                got=type(once).__name__,
            )
    pairs = list(zip(leaves(once), leaves(again), strict=True))
    if not all(isinstance(leaf, Tensor) for pair in pairs for leaf in pair):
        raise InvalidTask("the transform of the task returned something else", expected="tensors")
    if signature(once) != signature(again) or not all(torch.equal(one, other) for one, other in pairs):
        raise InvalidTask(
            "the transform of the task gives another result for the same generator",
            expected="all that is random drawn from the generator it is given, or torch's",
            got="draws from somewhere else: NumPy, random, the clock",
            remedy="Replay and simulation need it: torch.rand(..., generator=generator).",
        )
    return once
