"""Recent versions of a node's own model, by which echoes of them are recognised."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

import torch
from torch import Tensor

__all__ = ["OwnVersions"]

_REMEMBERED: Final = 64
_ECHO_SHARE: Final = 0.1  # of the neighbours' median distance


class OwnVersions:
    """Samples of the last versions of a node's own model."""

    def __init__(self) -> None:
        self._samples: deque[Tensor] = deque(maxlen=_REMEMBERED)

    def note(self, sample: Tensor) -> None:
        """Remember some coordinates of the present version, ``[K]``, always the same ones."""
        self._samples.append(sample)

    def entries(self) -> list[Tensor]:
        """Return all samples, the oldest first."""
        return list(self._samples)

    def are_echoed(self, sample: Tensor, *, size: int, median_distance: float) -> bool:
        """Whether a received model is one of these versions, handed back.

        Parameters
        ----------
        sample : Tensor
            The same coordinates of the received model, ``[K]``.
        size : int
            Of a whole row.
        median_distance : float
            Of the neighbours' whole rows to the node's own; NaN while there are none to compare with.
        """
        if not self._samples or math.isnan(median_distance):
            return False
        nearest = torch.linalg.vector_norm(torch.stack(tuple(self._samples)) - sample, dim=1).min()
        return bool(nearest <= _ECHO_SHARE * median_distance * math.sqrt(len(sample) / size))
