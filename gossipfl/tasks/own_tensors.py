"""Tensors of a module that are in no row, on whatever device rows are."""

from __future__ import annotations

from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn

__all__ = ["OwnTensors", "with_parameters_of"]


class OwnTensors:
    """Parameters and buffers that a module has itself when it is called with others from rows.

    Parameters
    ----------
    module : torch.nn.Module
    is_own : callable
        Whether a tensor of this name is the module's own.
    """

    def __init__(self, module: nn.Module, is_own: Callable[[str], bool]) -> None:
        self._module, self._is_own = module, is_own
        self._copies: dict[torch.device, dict[str, Tensor]] = {}

    def on(self, device: torch.device) -> dict[str, Tensor]:
        """Copies of those that are elsewhere, made once for each device; mostly none."""
        if device not in self._copies:
            named = (*self._module.named_parameters(), *self._module.named_buffers())
            self._copies[device] = {
                name: tensor.detach().to(device)
                for name, tensor in named
                if self._is_own(name) and tensor.device != device
            }
        return self._copies[device]


def with_parameters_of(body: nn.Module, module: nn.Module, names: Collection[str]) -> nn.Module:
    """The module, with another's frozen parameters of these names in the place of its own equal ones."""
    theirs = dict(body.named_parameters())
    for name, parameter in module.named_parameters():
        if name in names and name in theirs:
            parameter.data = theirs[name].data
    return module
