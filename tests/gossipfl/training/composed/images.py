"""Layers of images ``[C, H, W]``."""

from __future__ import annotations

from torch import nn

from tests.gossipfl.training.composed.form import Makers, call

__all__ = ["IMAGES"]


def _convolution(shape, random):
    return nn.Conv2d(
        shape[0], random.choice([2, 4]), random.choice([1, 2]), padding=1, stride=random.choice([1, 2])
    )


def _even(shape):
    return min(shape[1:]) >= 2


IMAGES: Makers = {
    "convolution": _convolution,
    "depthwise": lambda s, r: nn.Conv2d(
        s[0], s[0], 3, groups=s[0], padding=1, padding_mode=r.choice(["zeros", "circular"])
    ),
    "transposed": lambda s, r: nn.ConvTranspose2d(s[0], 2, 2),
    "batch norm": lambda s, r: nn.BatchNorm2d(s[0], momentum=r.choice([0.1, None])),
    "instance norm": lambda s, r: (
        nn.InstanceNorm2d(s[0], affine=True, track_running_stats=r.random() < 0.5)
        if s[1] * s[2] > 1
        else None
    ),
    "group norm": lambda s, r: nn.GroupNorm(1, s[0]),
    "layer norm": lambda s, r: nn.LayerNorm(list(s)),
    "local response": lambda s, r: nn.LocalResponseNorm(2),
    "max": lambda s, r: nn.MaxPool2d(2) if _even(s) else None,
    "average": lambda s, r: nn.AvgPool2d(2) if _even(s) else None,
    "power": lambda s, r: call(lambda m, x: m.p(x.abs() + 0.1), p=nn.LPPool2d(2, 2)) if _even(s) else None,
    "adaptive": lambda s, r: nn.AdaptiveMaxPool2d(2),
    "upsampled": lambda s, r: (
        nn.Upsample(scale_factor=2, mode=r.choice(["nearest", "bilinear"])) if s[1] < 8 else None
    ),
    "shuffled": lambda s, r: nn.PixelShuffle(2) if s[0] % 4 == 0 else None,
    "reflected": lambda s, r: nn.ReflectionPad2d(1) if _even(s) else None,
    "channels": lambda s, r: nn.ChannelShuffle(2) if s[0] % 2 == 0 else None,
    "residual": lambda s, r: call(lambda m, x: x + m.c(x), c=nn.Conv2d(s[0], s[0], 3, padding=1)),
    "excited": lambda s, r: call(
        lambda m, x: x * m.f(x.mean((2, 3))).sigmoid()[:, :, None, None], f=nn.Linear(s[0], s[0])
    ),
    "mean": lambda s, r: call(lambda m, x: x.mean((2, 3))),
    "flat": lambda s, r: nn.Flatten(),
    "patches": lambda s, r: nn.Unfold(2) if _even(s) else None,
    "rows": lambda s, r: nn.Flatten(1, 2),
}
