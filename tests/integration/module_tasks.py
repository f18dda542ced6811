"""Tasks whose modules hold more than parameters, for peers in tests."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import torch
from torch import Tensor, nn

from gossipfl.tasks import Task
from tests.integration.tasks import blobs

__all__ = ["holding"]


class Masked(nn.Module):
    """Adds a mask of minus infinity to one output that is never a class."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 4))
        self.register_buffer("mask", torch.tensor([0.0, 0.0, 0.0, -torch.inf]))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.body(inputs) + self.mask


class Projected(nn.Module):
    """Projects the inputs by constants that its constructor draws: of torch, NumPy and Python."""

    def __init__(self) -> None:
        super().__init__()
        self.projection = torch.randn(16, 16) / 4
        self.register_buffer("scale", torch.from_numpy(np.random.rand(16)).float() + 0.5, persistent=False)
        self.sign = random.choice([-1.0, 1.0])
        self.body = nn.Sequential(nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.body(self.sign * (inputs * self.scale) @ self.projection)


class OnABody(nn.Sequential):
    """Layers on one that nothing trains, which is by far the largest."""

    def __init__(self) -> None:
        body = nn.Linear(16, 64).requires_grad_(requires_grad=False)
        super().__init__(body, nn.Tanh(), nn.Linear(64, 3))
        self.register_buffer("scale", torch.full((16,), 0.5))

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = super().forward(self.scale * inputs)
        return outputs


class Shifted(nn.Sequential):
    """Starts a little apart from where the others do."""

    def __init__(self, shift: float) -> None:
        super().__init__(nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3))
        with torch.no_grad():
            self[0].bias[0] += shift


def holding(*, kind: str, index: int = 0, shift: float = 0.0) -> Task:
    """Blobs for a kind of module: ``mask``, ``constants``, ``body`` or ``shift``."""
    model = {"mask": Masked, "constants": Projected, "body": OnABody, "shift": lambda: Shifted(shift)}[kind]
    return dataclasses.replace(blobs(index=index), name=f"blobs for {kind}", model=model)
