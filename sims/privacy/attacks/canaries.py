"""Tasks whose private values are known but for coins, so that claims about noise can be tried on them."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from gossipfl.tasks import Dataset, Task

__all__ = ["coin_rows", "coin_samples", "coin_starts"]


class _Sum(nn.Module):
    """A row whose gradient at every sample is the sample itself, wherever the row is."""

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.zeros(numbers))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the products with all samples, ``[B, 1]``."""
        return inputs @ self.values[:, None]


class _Coins(nn.Module):
    """Numbers of one size, of either sign at random."""

    def __init__(self, numbers: int, size: float) -> None:
        super().__init__()
        self.values = nn.Parameter(size * torch.sign(torch.randn(numbers)))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the numbers for every sample, ``[B, numbers]``."""
        return self.values.expand(len(inputs), -1) + 0 * inputs


def coin_rows(*, nodes: int, numbers: int, size: float = 1.0, seed: int = 0) -> Task:
    """One sample a node, which is its gradient in every step: numbers ± ``size``, a coin each.

    Parameters
    ----------
    nodes, numbers : int
    size : float
    seed : int
        Of the coins.
    """
    generator = torch.Generator().manual_seed(seed)
    coins = torch.randint(0, 2, (nodes, numbers), generator=generator).float() * 2 - 1
    return _linear("coin_rows", size * coins, seed=seed)


def coin_samples(*, nodes: int, numbers: int, seed: int = 0) -> Task:
    """As many samples a node as rows have numbers, each with a gradient of norm 1 along a number of its own."""
    return _linear("coin_samples", torch.eye(numbers).repeat(nodes, 1), seed=seed)


def coin_starts(*, nodes: int, numbers: int, size: float = 1.0, seed: int = 0) -> Task:
    """Each node starts from numbers ± ``size``, a coin each, and does not train."""
    zeros = torch.zeros(nodes, 1)
    return Task(
        name="coin_starts",
        model=partial(_Coins, numbers, size),
        data=lambda: _untested(zeros),
        loss=_square,
        metrics={"square": _square},
        seed=seed,
        start="independent",
    )


def _linear(name: str, samples: Tensor, *, seed: int) -> Task:
    return Task(
        name=name,
        model=partial(_Sum, samples.shape[1]),
        data=lambda: _untested(samples),
        loss=_mean,
        metrics={"mean": _mean},
        seed=seed,
    )


def _untested(samples: Tensor) -> Dataset:
    targets = torch.zeros(len(samples), 1)
    return Dataset(
        train_inputs=samples, train_targets=targets, test_inputs=samples[:1], test_targets=targets[:1]
    )


def _mean(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).mean()


def _square(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square().mean()
