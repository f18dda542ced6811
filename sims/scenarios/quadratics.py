"""A task with exact answers: node i has f_i(x) = ½ (x − b_i)², b_i = i − (n − 1)/2; their sum is least at 0."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gossipfl.tasks import Dataset, Task

__all__ = ["quadratics"]


class Point(nn.Module):
    """A point x, whatever the input."""

    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.zeros(1))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the point for every sample, ``[B, 1]``."""
        return self.x.expand(len(inputs), 1) + 0 * inputs


def half_square(outputs: Tensor, targets: Tensor) -> Tensor:
    """Half the square distance from the targets."""
    return 0.5 * (outputs - targets).square().mean()


def error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Square distance from the optimum."""
    return (outputs - targets).square().mean()


def quadratics(*, nodes: int) -> Task:
    """One sample per node, its minimum b_i; partition = "contiguous" gives each node its own.

    Parameters
    ----------
    nodes : int
        How many nodes there are.
    """
    minima = (torch.arange(nodes) - (nodes - 1) / 2)[:, None]
    zero = torch.zeros(1, 1)
    return Task(
        name="quadratics",
        model=Point,
        data=lambda: Dataset(
            train_inputs=torch.zeros(nodes, 1), train_targets=minima, test_inputs=zero, test_targets=zero
        ),
        loss=half_square,
        metrics={"error": error},
    )
