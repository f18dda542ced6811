"""Draws of private training: which samples are in a batch, and the noise on their gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.codecs.draws import normals, rekeyed, scores
from gossipfl.outgoing.transformation import Normals, Words
from gossipfl.privacy.factorised import noise_weights
from gossipfl.training.batches import batch_positions, draw_seeds

__all__ = ["SeededDraws", "StepDraws", "StepOfDraws", "batches_apart"]

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
    batches : ndarray, optional
        Of each node, how many cyclic batches were before, int64 ``[B]``; None for Poisson sampling.
    order : int
        Seed of the order of cyclic batches.
    earlier : sequence of tuple
        Of each earlier step whose noise is in this one's: its weight, keys, and which nodes had one, bool ``[B]``.
    """

    keys: Tensor
    words: Words = scores
    normals: Normals = normals
    batches: NDArray[np.int64] | None = None
    order: int = 0
    earlier: Sequence[tuple[float, Tensor, Tensor]] = ()

    def sampled(self, counts: NDArray[np.int64], rates: NDArray[np.float64]) -> list[NDArray[np.int64]]:
        """Positions of each node's batch among its samples, increasing: each with the node's rate, independently.

        Parameters
        ----------
        counts, rates : ndarray
            Number of samples and sampling rate of each node, ``[B]``.
        """
        if self.batches is not None:
            return self._in_cycles(counts, rates)
        keys, found = rekeyed(self.keys, _SAMPLING), []
        for row, (count, rate) in enumerate(zip(counts.tolist(), rates.tolist(), strict=True)):
            if rate >= 1:
                found.append(np.arange(count, dtype=np.int64))
                continue
            words = self.words(keys[row : row + 1], count)[0].numpy()
            # the upper 63 bits, uniform over 0 … 2⁶³ − 1
            found.append(np.flatnonzero((words >> 1) + 2**62 < int(rate * 2**63)).astype(np.int64))
        return found

    def noise(self, width: int, *, device: torch.device | None = None) -> Tensor:
        """Draw independent standard normals, float64 ``[B, width]``, on the device where they are needed."""

        def drawn(keys: Tensor) -> Tensor:
            return self.normals(rekeyed(keys, _NOISE).to(device), width).to(device)

        noise = drawn(self.keys)
        for weight, keys, had in self.earlier:
            noise += weight * had[:, None].to(device) * drawn(keys)
        return noise

    def _in_cycles(self, counts: NDArray[np.int64], rates: NDArray[np.float64]) -> list[NDArray[np.int64]]:
        assert self.batches is not None  # noqa: S101  (the caller looked)
        found = []
        for row, (count, rate) in enumerate(zip(counts.tolist(), rates.tolist(), strict=True)):
            size, apart = max(1, round(rate * count)), batches_apart(rate)
            place = int(self.batches[row]) % apart
            positions = batch_positions(
                seed=self.order,
                nodes=np.zeros(1, dtype=np.int64),
                steps=np.array([place]),
                counts=np.array([count]),
                size=size,
            )[0]
            found.append(np.sort(positions[: count - place * size]))  # the last one may be shorter
        return found


def batches_apart(rate: float) -> int:
    """How many cyclic batches hold all samples, each of this share of them: a sample comes again after so many."""
    return max(1, math.ceil(1 / rate - 1e-9))


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
    cyclic: bool = False
    bands: int = 1

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

        def keys(steps: NDArray[np.int64]) -> Tensor:
            return torch.tensor(draw_seeds(seed=self.seed, nodes=numbers, steps=steps), dtype=torch.int64)

        if not self.cyclic:
            return StepOfDraws(keys=keys(steps))
        earlier = [
            (weight, keys(np.maximum(steps - k, 0)), torch.from_numpy(steps >= k))
            for k, weight in enumerate(noise_weights(self.bands).tolist())
            if k
        ]
        return StepOfDraws(keys=keys(steps), batches=steps, order=self.seed, earlier=earlier)
