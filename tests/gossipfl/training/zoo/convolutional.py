"""Convolutions, with what stands between them."""

from __future__ import annotations

from torch import nn
from torch.nn import functional

from tests.gossipfl.training.zoo.form import Call, Kind, cnn, image

__all__ = ["KINDS"]


def residual() -> nn.Module:
    return Call(
        lambda m, x: m.head((x + m.b(functional.relu(m.a(x)))).mean((2, 3))),
        a=nn.Conv2d(1, 4, 3, padding=1),
        b=nn.Conv2d(4, 1, 3, padding=1),
        head=nn.Linear(1, 3),
    )


KINDS: dict[str, Kind] = {
    "convolution": Kind("convolutional", "image", cnn),
    "BatchNorm2d": Kind("convolutional", "image", lambda: cnn(nn.BatchNorm2d(4))),
    "BatchNorm2d, cumulative": Kind("convolutional", "image", lambda: cnn(nn.BatchNorm2d(4, momentum=None))),
    "GroupNorm": Kind("convolutional", "image", lambda: cnn(nn.GroupNorm(2, 4))),
    "InstanceNorm2d": Kind("convolutional", "image", lambda: cnn(nn.InstanceNorm2d(4, affine=True))),
    "InstanceNorm2d, running": Kind(
        "convolutional", "image", lambda: cnn(nn.InstanceNorm2d(4, track_running_stats=True))
    ),
    "LayerNorm of images": Kind("convolutional", "image", lambda: cnn(nn.LayerNorm([4, 8, 8]))),
    "LocalResponseNorm": Kind("convolutional", "image", lambda: cnn(nn.LocalResponseNorm(2))),
    "depthwise convolution": Kind(
        "convolutional", "image", lambda: cnn(nn.Conv2d(4, 4, 3, groups=4, padding=1))
    ),
    "dilated, strided convolution": Kind(
        "convolutional", "image", lambda: image(9 * 4, nn.Conv2d(1, 4, 2, stride=2, dilation=2))
    ),
    "transposed convolution": Kind(
        "convolutional", "image", lambda: image(16 * 16 * 2, nn.ConvTranspose2d(1, 2, 2, stride=2))
    ),
    "Conv1d": Kind("convolutional", "signal", lambda: image(40, nn.Conv1d(2, 4, 3), nn.ReLU())),
    "ConvTranspose1d": Kind(
        "convolutional", "signal", lambda: image(72, nn.ConvTranspose1d(2, 3, 2, stride=2))
    ),
    "Conv3d": Kind("convolutional", "volume", lambda: image(16, nn.Conv3d(1, 2, 3), nn.ReLU())),
    "max pooling": Kind(
        "convolutional", "image", lambda: image(36, nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.ReLU())
    ),
    "average pooling": Kind(
        "convolutional", "image", lambda: image(36, nn.Conv2d(1, 4, 3), nn.AvgPool2d(2), nn.ReLU())
    ),
    "PixelShuffle": Kind(
        "convolutional", "image", lambda: image(256, nn.Conv2d(1, 4, 1), nn.PixelShuffle(2))
    ),
    "Upsample": Kind(
        "convolutional",
        "image",
        lambda: image(256, nn.Conv2d(1, 1, 1), nn.Upsample(scale_factor=2, mode="bilinear")),
    ),
    "ReflectionPad2d": Kind(
        "convolutional", "image", lambda: image(144, nn.ReflectionPad2d(2), nn.Conv2d(1, 1, 1))
    ),
    "Unfold": Kind("convolutional", "image", lambda: image(4 * 49, nn.Unfold(2))),
    "residual block": Kind("convolutional", "image", residual),
}
