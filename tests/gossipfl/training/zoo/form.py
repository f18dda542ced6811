"""Form of a kind of module, and what several kinds are built from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

__all__ = ["Call", "Kind", "cnn", "image", "mlp"]


@dataclass(frozen=True)
class Kind:
    """A kind of module.

    Parameters
    ----------
    family : str
    inputs : str
        Of `SAMPLES`.
    model : callable
    note : str
    """

    family: str
    inputs: str
    model: Callable[[], nn.Module]
    note: str = ""


class Call(nn.Module):
    """Modules and a function of them and the inputs."""

    def __init__(self, function: Callable[..., Tensor], **parts: nn.Module | nn.Parameter | Tensor) -> None:
        super().__init__()
        for name, part in parts.items():
            if isinstance(part, Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)
        self.function = function

    def forward(self, inputs: Tensor) -> Tensor:
        return self.function(self, inputs)


def mlp(*between: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(16, 8), *between, nn.Linear(8, 3))


def cnn(*between: nn.Module) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        *between,
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 3),
    )


def image(width: int, *features: nn.Module) -> nn.Module:
    return nn.Sequential(*features, nn.Flatten(), nn.Linear(width, 3))
