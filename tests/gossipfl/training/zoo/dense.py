"""Dense layers, and modules that branch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.gossipfl.training.zoo.form import Call, Kind, mlp

__all__ = ["KINDS"]


class OwnFunction(torch.autograd.Function):
    """A straight-through sign."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.sign()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient


def shared_layers() -> nn.Module:
    layer = nn.Linear(8, 8)
    return nn.Sequential(nn.Linear(16, 8), layer, nn.Tanh(), layer, nn.Linear(8, 3))


def branching() -> nn.Module:
    return Call(lambda m, x: m.a(x) if x.sum() > 0 else m.b(x), a=nn.Linear(16, 3), b=nn.Linear(16, 3))


KINDS: dict[str, Kind] = {
    "linear": Kind("dense", "vector", lambda: nn.Linear(16, 3)),
    "perceptron, ReLU": Kind("dense", "vector", lambda: mlp(nn.ReLU())),
    "perceptron, GELU": Kind("dense", "vector", lambda: mlp(nn.GELU())),
    "perceptron, SiLU": Kind("dense", "vector", lambda: mlp(nn.SiLU())),
    "perceptron, Softplus, Hardswish": Kind("dense", "vector", lambda: mlp(nn.Softplus(), nn.Hardswish())),
    "PReLU": Kind("dense", "vector", lambda: mlp(nn.PReLU(8))),
    "GLU": Kind("dense", "vector", lambda: nn.Sequential(nn.Linear(16, 8), nn.GLU(), nn.Linear(4, 3))),
    "Bilinear": Kind(
        "dense", "vector", lambda: Call(lambda m, x: m.b(x[:, :8], x[:, 8:]), b=nn.Bilinear(8, 8, 3))
    ),
    "tied layers": Kind("dense", "vector", shared_layers),
    "frozen layer": Kind(
        "dense",
        "vector",
        lambda: nn.Sequential(nn.Linear(16, 8).requires_grad_(requires_grad=False), nn.Linear(8, 3)),
    ),
    "own autograd.Function": Kind(
        "dense",
        "vector",
        lambda: Call(lambda m, x: m.b(OwnFunction.apply(m.a(x))), a=nn.Linear(16, 8), b=nn.Linear(8, 3)),
        "its forward takes ctx",
    ),
    "branch on the data": Kind("dense", "vector", branching, "x.sum() > 0 is asked of every batch"),
}
