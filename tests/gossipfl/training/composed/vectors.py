"""Layers of vectors ``[F]``."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, weight_norm

from tests.gossipfl.training.composed.form import Makers, call, noise, plain

__all__ = ["ACTIVATIONS", "VECTORS"]

ACTIVATIONS: Makers = plain(
    nn.ReLU,
    lambda: nn.ReLU(inplace=True),
    nn.GELU,
    nn.Tanh,
    nn.SiLU,
    nn.Softplus,
    nn.PReLU,
    lambda: nn.LeakyReLU(0.1, inplace=True),
    nn.ELU,
    nn.Mish,
    nn.Hardswish,
    nn.Softsign,
    nn.LogSigmoid,
    nn.Identity,
    lambda: nn.Softshrink(0.05),
    lambda: nn.Hardtanh(-2, 2, inplace=True),
)


def _linear(shape, random):
    return nn.Linear(shape[0], random.choice([4, 6, 8]), bias=random.random() < 0.8)


def _grouped(shape, random):
    return nn.GroupNorm(2, shape[0]) if shape[0] % 2 == 0 else None


def _halved(shape, random):
    return nn.GLU() if shape[0] % 2 == 0 else None


def _normed(kind):
    return lambda shape, random: kind(nn.Linear(shape[0], shape[0]))


def _twice(shape, random):
    layer = nn.Linear(shape[0], shape[0])
    return nn.Sequential(layer, nn.Tanh(), layer)


def _frozen_bias(shape, random):
    layer = nn.Linear(shape[0], 6)
    layer.bias.requires_grad_(requires_grad=False)
    return layer


def _experts(shape, random):
    return call(
        lambda m, x: (torch.softmax(m.gate(x), -1).unsqueeze(-1) * torch.stack([e(x) for e in m.e], 1)).sum(
            1
        ),
        gate=nn.Linear(shape[0], 2),
        e=nn.ModuleList([nn.Linear(shape[0], 4), nn.Linear(shape[0], 4)]),
    )


VECTORS: Makers = {
    "linear": _linear,
    "low rank": lambda s, r: call(
        lambda m, x: x + x @ m.u @ m.v, u=nn.Parameter(noise(s[0], 2)), v=nn.Parameter(noise(2, s[0]))
    ),
    "residual": lambda s, r: call(lambda m, x: x + m.f(x), f=nn.Linear(s[0], s[0])),
    "scale": lambda s, r: call(lambda m, x: x * m.w, w=nn.Parameter(torch.ones(()))),
    "bilinear": lambda s, r: call(lambda m, x: m.b(x, x), b=nn.Bilinear(s[0], s[0], 4)),
    "layer norm": lambda s, r: nn.LayerNorm(s[0], elementwise_affine=r.random() < 0.7),
    "rms norm": lambda s, r: nn.RMSNorm(s[0]),
    "batch norm": lambda s, r: nn.BatchNorm1d(
        s[0], momentum=r.choice([0.1, 0.5, None]), affine=r.random() < 0.7
    ),
    "batch norm without statistics": lambda s, r: nn.BatchNorm1d(s[0], track_running_stats=False),
    "group norm": _grouped,
    "glu": _halved,
    "weight norm": _normed(parametrizations.weight_norm),
    "old weight norm": _normed(weight_norm),
    "spectral norm": _normed(parametrizations.spectral_norm),
    "orthogonal": _normed(parametrizations.orthogonal),
    "experts": _experts,
    "tied": lambda s, r: call(
        lambda m, x: functional.linear(torch.tanh(m.a(x)), m.a.weight.mT), a=nn.Linear(s[0], 5)
    ),
    "tied modules": _twice,
    "frozen": lambda s, r: nn.Linear(s[0], s[0]).requires_grad_(requires_grad=False),
    "frozen bias": _frozen_bias,
    "unused": lambda s, r: call(lambda m, x: x, unused=nn.Linear(s[0], 2)),
    "parameter list": lambda s, r: call(
        lambda m, x: x * m.p[0] + m.p[1], p=nn.ParameterList([torch.ones(s[0]), torch.zeros(1)])
    ),
    "softmax": lambda s, r: nn.Softmax(-1),
    "fourier": lambda s, r: call(lambda m, x: torch.fft.rfft(x @ m.w).abs(), w=nn.Parameter(noise(s[0], 6))),
    "sorted": lambda s, r: call(lambda m, x: x.sort(-1)[0]),
    "top": lambda s, r: call(lambda m, x: x.topk(2, -1)[0]) if s[0] > 2 else None,
    "cumulative": lambda s, r: call(lambda m, x: x.cumsum(-1) / x.shape[-1]),
    "rolled": lambda s, r: call(lambda m, x: x.roll(1, -1)),
    "chosen columns": lambda s, r: call(lambda m, x: x[:, m.order], order=torch.randperm(s[0])),
    "distances": lambda s, r: call(
        lambda m, x: torch.cdist(x, m.centres), centres=nn.Parameter(noise(4, s[0]))
    ),
    "solved": lambda s, r: call(
        lambda m, x: torch.linalg.solve(m.a @ m.a.mT + torch.eye(s[0]), x.mT).mT,
        a=nn.Parameter(noise(s[0], s[0])),
    ),
    "einsum": lambda s, r: call(
        lambda m, x: torch.einsum("bi,ijk,bj->bk", x, m.w, x), w=nn.Parameter(noise(s[0], s[0], 3))
    ),
    "where": lambda s, r: call(lambda m, x: torch.where(x > 0, x * m.w, x), w=nn.Parameter(torch.ones(s[0]))),
    "straight through": lambda s, r: call(lambda m, x: x + (x.round() - x).detach()),
    "normalised": lambda s, r: call(lambda m, x: functional.normalize(x, dim=-1)),
    "batch statistics": lambda s, r: call(lambda m, x: x - x.mean(0, keepdim=True)),
    "to sequence": lambda s, r: nn.Unflatten(1, (2, s[0] // 2)) if s[0] % 2 == 0 else None,
    "to one": lambda s, r: nn.Unflatten(1, (1, s[0])),
    "to image": lambda s, r: nn.Unflatten(1, (1, 2, s[0] // 2)) if s[0] % 2 == 0 else None,
}
