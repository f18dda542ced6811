"""Layers to compose: functions of the shape that comes in, and what several are built from."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import torch
from torch import Tensor, nn

from tests.gossipfl.training.zoo.form import Call

__all__ = ["Call", "Makers", "call", "plain"]

Shape = tuple[int, ...]
#: By name: a layer for inputs of a shape (without the batch), or None where it takes none of that shape.
Makers = dict[str, Callable[[Shape, Random], nn.Module | None]]


def call(function: Callable[[Any, Tensor], Tensor], **parts: Any) -> Call:
    """Module of a function and its parts; a constant is a part that is a tuple of one tensor."""
    constants = {name: part[0] for name, part in parts.items() if isinstance(part, tuple)}
    module = Call(function, **{name: part for name, part in parts.items() if name not in constants})
    for name, constant in constants.items():
        setattr(module, name, constant)
    return module


def plain(*layers: Callable[[], nn.Module]) -> Makers:
    """Makers of layers that take any shape."""
    return {name_of(make()): lambda shape, random, make=make: make() for make in layers}


def name_of(module: nn.Module) -> str:
    return str(module)


def noise(*shape: int) -> Tensor:
    """Small numbers from torch's generator."""
    return 0.3 * torch.randn(*shape)
