"""A task without learning: every node has a number, and the mean of all is wanted."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gossipfl.tasks import Dataset, Task

__all__ = ["averages"]


class Number(nn.Module):
    """A number, drawn from the standard normal distribution at first."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.randn(1))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the number for every sample."""
        return self.value.expand(len(inputs)) + 0 * inputs


def distance(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean distance of the number from its target."""
    return (outputs - targets).abs().mean()


def averages(*, nodes: int, seed: int = 0) -> Task:
    """Every one of ``nodes`` nodes starts from a number of its own."""
    zeros = torch.zeros(nodes)
    return Task(
        name="averages",
        model=Number,
        data=lambda: Dataset(
            train_inputs=zeros, train_targets=zeros, test_inputs=zeros[:1], test_targets=zeros[:1]
        ),
        loss=nn.functional.mse_loss,
        metrics={"distance": distance},
        seed=seed,
        start="independent",
    )
