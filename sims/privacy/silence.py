"""No noise at all: an account has it in the values themselves."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gossipfl.algorithms.round_noise import RoundNoise

__all__ = ["Silence"]


@dataclass(frozen=True, slots=True)
class Silence(RoundNoise):
    """Noise of zero for B nodes: values are released as they are, with the noise that they have.

    Noise that is shared or on single copies is left out of an account. It comes on top of values that are noisy
    already, so an observer could add it itself, and learns no more from less of it.
    """

    nodes: int

    def own(self, width: int, *, purpose: int = 0) -> Tensor:
        """Nothing, ``[B, width]``."""
        del purpose
        return torch.zeros(self.nodes, width, dtype=torch.float64)

    def edge(self, first: int, second: int, width: int, *, purpose: int = 0) -> Tensor:
        """Nothing, ``[width]``."""
        del first, second, purpose
        return torch.zeros(width, dtype=torch.float64)

    def released(
        self, values: Tensor, *, deviation: float, clip: float | None = None, purpose: int = 0
    ) -> Tensor:
        """Return the values: they are as short as they are to be."""
        del deviation, clip, purpose
        return values
