"""Small tasks of every kind that training has to cope with."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gossipfl.layout import SharePolicy
from gossipfl.tasks import Dataset, Task


class Recurrent(nn.Module):
    """A GRU over the pixels of a sample, four at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(4, 6, batch_first=True)
        self.head = nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.gru(inputs.reshape(len(inputs), 4, 4))[0][:, -1])


class Tied(nn.Module):
    """An autoencoder-like classifier whose two layers share one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(16, 16), nn.Linear(16, 16)
        self.second.weight = self.first.weight

    def forward(self, inputs: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(inputs)))[:, :3]


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3))


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3)
    )


def batch_norm() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def dropout() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 8), nn.Dropout(0.5), nn.Linear(8, 3))


def frozen() -> nn.Module:
    module = perceptron()
    module[0].requires_grad_(False)
    return module


MODELS: dict[str, Callable[[], nn.Module]] = {
    "perceptron": perceptron,
    "convolutional": convolutional,
    "batch_norm": batch_norm,
    "dropout": dropout,
    "recurrent": Recurrent,
    "tied": Tied,
    "frozen": frozen,
}


def blobs(samples: int = 400) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(0, 3, (samples,), generator=generator)
    centres = torch.randn(3, 16, generator=generator)
    inputs = centres[targets] + torch.randn(samples, 16, generator=generator)
    return Dataset(
        train_inputs=inputs, train_targets=targets, test_inputs=inputs[:50], test_targets=targets[:50]
    )


def task_of(model: str, *, local: tuple[str, ...] = ()) -> Task:
    return Task(name=model, model=MODELS[model], data=blobs, share=SharePolicy(local=local))
