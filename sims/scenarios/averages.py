"""A task without learning: every node has numbers, and their means over all nodes are wanted."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from gossipfl.tasks import Dataset, Task

__all__ = ["averages"]


class Numbers(nn.Module):
    """Numbers, drawn from the standard normal distribution at first."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.randn(size))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the numbers for every sample, ``[B, size]``."""
        return self.values.expand(len(inputs), -1) + 0 * inputs


def distance(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean distance of the numbers from their targets."""
    return (outputs - targets).abs().mean()


def square_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean square distance of the numbers from their targets."""
    return (outputs - targets).square().mean()


def averages(*, nodes: int, size: int = 1, seed: int = 0) -> Task:
    """Each of ``nodes`` nodes starts from ``size`` numbers of its own."""
    zeros = torch.zeros(nodes, 1)
    return Task(
        name="averages",
        model=partial(Numbers, size),
        data=lambda: Dataset(
            train_inputs=zeros, train_targets=zeros, test_inputs=zeros[:1], test_targets=zeros[:1]
        ),
        loss=square_error,
        metrics={"distance": distance},
        seed=seed,
        start="independent",
    )
