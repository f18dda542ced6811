"""Small worlds that the tests of the simulator share."""

from __future__ import annotations

import torch
from torch import nn

from gossipfl.layout import SharePolicy
from gossipfl.tasks import Dataset, Task
from sims.compiler.timeline import TICKS_PER_SECOND, Conditions, conditions_of
from sims.scenario import Scenario, parse_scenario
from sims.world import World, build_world
from sims.world.networks import neighbour_lists

SECOND = TICKS_PER_SECOND

SMALL = """
seed = 3
precision = "float64"
[population]
nodes = 24
[task]
name = "tests.sims.worlds:blobs"
[topology]
name = "ring"
[algorithm]
name = "gossip_learning"
[training]
batch_size = 4
learning_rate = 0.3
"""


def blobs(*, samples: int = 240, model: str = "linear") -> Task:
    """Three Gaussian blobs in five dimensions."""

    def data() -> Dataset:
        generator = torch.Generator().manual_seed(1)
        targets = torch.arange(samples) % 3
        inputs = torch.randn(samples, 5, generator=generator) + torch.eye(3, 5)[targets] * 2
        return Dataset(
            train_inputs=inputs, train_targets=targets, test_inputs=inputs[:60], test_targets=targets[:60]
        )

    models = {
        "linear": lambda: nn.Linear(5, 3),
        "mlp": lambda: nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)),
        "batchnorm": lambda: nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)),
        "dropout": lambda: nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.3), nn.Linear(8, 3)),
        "convolution": lambda: nn.Sequential(
            nn.Unflatten(1, (1, 5)), nn.Conv1d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6, 3)
        ),
        "frozen": lambda: nn.Sequential(frozen(nn.Linear(5, 40)), nn.Tanh(), nn.Linear(40, 3)),
        "frozen and batchnorm": lambda: nn.Sequential(
            frozen(nn.Linear(5, 9)), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 3), frozen(nn.Linear(3, 3))
        ),
        "frozen and dropout": lambda: nn.Sequential(
            frozen(nn.Linear(5, 8)), nn.Dropout(0.3), nn.Linear(8, 3)
        ),
        "frozen and personal": lambda: nn.Sequential(
            nn.Linear(5, 8), frozen(nn.Linear(8, 8)), nn.Linear(8, 3)
        ),
        "personal": lambda: nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)),
    }
    share = SharePolicy(local=("2.*",)) if model.endswith("personal") else SharePolicy()
    return Task(name=f"blobs/{model}", model=models[model], data=data, share=share)


def frozen(module: nn.Module) -> nn.Module:
    """The same module, which is not trained."""
    return module.requires_grad_(requires_grad=False)


class Point(nn.Module):
    """A point x, whatever the input."""

    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.zeros(1))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.x.expand(len(inputs), 1) + 0 * inputs


def quadratic(*, nodes: int = 16) -> Task:
    """``f_i(x) = ½ (x − b_i)²`` with ``b_i = i − (n − 1)/2``, one sample a node."""
    targets = (torch.arange(nodes) - (nodes - 1) / 2)[:, None]
    zero = torch.zeros(1, 1)
    return Task(
        name="quadratic",
        model=Point,
        data=lambda: Dataset(
            train_inputs=torch.zeros(nodes, 1), train_targets=targets, test_inputs=zero, test_targets=zero
        ),
        loss=lambda outputs, targets: 0.5 * ((outputs - targets) ** 2).mean(),
        metrics={"error": lambda outputs, targets: (outputs - targets).abs().mean()},
    )


def small(*overrides: str) -> Scenario:
    """The small scenario with some of its values replaced."""
    return parse_scenario(SMALL, overrides=overrides)


def conditions(scenario: Scenario, world: World | None = None) -> Conditions:
    """Conditions of a message-driven scenario."""
    indptr, indices = neighbour_lists(scenario)
    message_bytes = 1000 if world is None else world.message_bytes
    return conditions_of(scenario, indptr=indptr, indices=indices, message_bytes=message_bytes)


def world_of(scenario: Scenario) -> World:
    """World of a scenario."""
    return build_world(scenario)
