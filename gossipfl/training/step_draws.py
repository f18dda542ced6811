"""Draws of private training: which samples are in a batch, and the noise on their gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.codecs.draws import normals, rekeyed, scores
from gossipfl.outgoing.transformation import Normals, Words
from gossipfl.training.batches import draw_seeds

__all__ = ["SeededDraws", "StepDraws", "StepOfDraws"]

_SAMPLING, _NOISE = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOfDraws:
    """All that one step of B nodes draws.

    Parameters
    ----------
    keys : Tensor
        A key of each node, int64 ``[B]``.
    words, normals : callable
        Sources of the draws.
    """

    keys: Tensor
    words: Words = scores
    normals: Normals = normals

    def sampled(self, counts: NDArray[np.int64], rates: NDArray[np.float64]) -> list[NDArray[np.int64]]:
        """Positions of each node's batch among its samples, increasing: each with the node's rate, independently.

        Parameters
        ----------
        counts, rates : ndarray
            Number of samples and sampling rate of each node, ``[B]``.
        """
        keys, found = rekeyed(self.keys, _SAMPLING), []
        for row, (count, rate) in enumerate(zip(counts.tolist(), rates.tolist(), strict=True)):
            if rate >= 1:
                found.append(np.arange(count, dtype=np.int64))
                continue
            words = self.words(keys[row : row + 1], count)[0].numpy()
            # the upper 63 bits, uniform over 0 … 2⁶³ − 1
            found.append(np.flatnonzero((words >> 1) + 2**62 < int(rate * 2**63)).astype(np.int64))
        return found

    def noise(self, width: int) -> Tensor:
        """Draw independent standard normals, float64 ``[B, width]``."""
        return self.normals(rekeyed(self.keys, _NOISE), width)


class StepDraws(Protocol):
    """Where private training has its draws from."""

    @property
    def is_spent(self) -> bool:
        """Whether a privacy budget allows no further step."""
        ...

    def next(
        self,
        numbers: NDArray[np.int64],
        steps: NDArray[np.int64],
        *,
        rates: NDArray[np.float64],
    ) -> StepOfDraws:
        """Begin a step: what it takes of a budget is spent once this returns.

        Parameters
        ----------
        numbers, steps : ndarray
            Number of each node and its training steps so far, int64 ``[B]``.
        rates : ndarray
            Probability of each node's samples to be in its batch, ``[B]``.

        Raises
        ------
        BudgetSpent
            If a privacy budget allows no further step.
        """
        ...


@dataclass(frozen=True, slots=True)
class SeededDraws:
    """Draws as (seed, node, step) determine: for simulations, replays and rehearsals."""

    seed: int

    @property
    def is_spent(self) -> bool:
        """Seeds have no budget."""
        return False

    def next(
        self,
        numbers: NDArray[np.int64],
        steps: NDArray[np.int64],
        *,
        rates: NDArray[np.float64],
    ) -> StepOfDraws:
        """Begin a step; see `StepDraws`."""
        del rates
        seeds = draw_seeds(seed=self.seed, nodes=numbers, steps=steps)
        return StepOfDraws(keys=torch.tensor(seeds, dtype=torch.int64))
