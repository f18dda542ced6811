"""A task whose peers have samples of different lengths."""

import torch
from torch import nn

from gossipfl.tasks import Dataset, Task


class Mean(nn.Module):
    """A linear model of the mean of a sample."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.linear(inputs.mean(dim=1, keepdim=True))


def lengths(*, length: int) -> Task:
    def data() -> Dataset:
        inputs = torch.arange(10.0 * length).reshape(10, length) / 10
        targets = torch.arange(10) % 2
        return Dataset(train_inputs=inputs, train_targets=targets, test_inputs=inputs, test_targets=targets)

    return Task(name="lengths", model=Mean, data=data)
