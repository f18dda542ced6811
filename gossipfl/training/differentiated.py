"""Losses, gradients and what a forward pass left: the outcome of a batch for each of B rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gossipfl.training.optimisers import Reached

__all__ = ["Differentiated", "concatenated"]


class Differentiated(NamedTuple):
    """What a batch says of each of B rows.

    Parameters
    ----------
    losses : Tensor
        Shape ``[B]``.
    gradients : Tensor
        Shape ``[B, trainable_size]``.
    untrained : Tensor
        Shape ``[B, D − trainable_size]``: frozen parameters as before, buffers as the module left them.
    trainable : Tensor
        Shape ``[B, trainable_size]``: the parameters as the forward pass left them, which is mostly as they were.
    reached : Reached, optional
        Which parameters the losses depend on; None where it is all of them.
    """

    losses: Tensor
    gradients: Tensor
    untrained: Tensor
    trainable: Tensor
    reached: Reached | None = None


def concatenated(parts: Sequence[Differentiated]) -> Differentiated:
    """What is said of rows one after another; each part says what it reached."""
    losses, gradients, untrained, trainable = (
        torch.cat(each) for each in zip(*(part[:4] for part in parts), strict=True)
    )
    found = [part.reached for part in parts if part.reached is not None]
    reached = Reached(torch.cat([each.tensors for each in found]), found[0].widths)
    return Differentiated(losses, gradients, untrained, trainable, reached)
