"""Norms of vectors, and parametrised weights."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, spectral_norm, weight_norm

from tests.gossipfl.training.zoo.form import Kind, mlp

__all__ = ["KINDS"]


class Symmetric(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight.triu() + weight.triu(1).mT


def parametrised(square: Callable[[nn.Module], nn.Module]) -> nn.Module:
    return nn.Sequential(nn.Linear(16, 8), square(nn.Linear(8, 8)), nn.Tanh(), nn.Linear(8, 3))


def symmetric(layer: nn.Module) -> nn.Module:
    parametrize.register_parametrization(layer, "weight", Symmetric())
    return layer


KINDS: dict[str, Kind] = {
    "LayerNorm": Kind("norms", "vector", lambda: mlp(nn.LayerNorm(8))),
    "RMSNorm": Kind("norms", "vector", lambda: mlp(nn.RMSNorm(8))),
    "BatchNorm1d": Kind("norms", "vector", lambda: mlp(nn.BatchNorm1d(8), nn.ReLU())),
    "BatchNorm1d, no statistics": Kind(
        "norms", "vector", lambda: mlp(nn.BatchNorm1d(8, track_running_stats=False))
    ),
    "weight_norm": Kind("parametrised", "vector", lambda: parametrised(parametrizations.weight_norm)),
    "weight_norm, old": Kind("parametrised", "vector", lambda: parametrised(weight_norm)),
    "spectral_norm": Kind("parametrised", "vector", lambda: parametrised(parametrizations.spectral_norm)),
    "spectral_norm, old": Kind("parametrised", "vector", lambda: parametrised(spectral_norm)),
    "orthogonal": Kind("parametrised", "vector", lambda: parametrised(parametrizations.orthogonal)),
    "own parametrisation": Kind("parametrised", "vector", lambda: parametrised(symmetric)),
}
