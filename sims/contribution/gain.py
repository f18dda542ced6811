"""Gains: each participant's model after learning with the others, beside the one it gets alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from sims.contribution.game import LearningGame

__all__ = ["Gains", "gains_of", "mean_and_reach"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gains:
    """What n participants have alone and together; the more the better, so losses have their sign changed.

    Parameters
    ----------
    alone, together : ndarray
        Of each, over repeats, ``[repeats, n]``.
    low, high : ndarray
        Ends of the confidence interval of each mean gain, over test samples, ``[n]``.
    """

    alone: Floats
    together: Floats
    low: Floats
    high: Floats

    @property
    def of_repeats(self) -> Floats:
        """Gain of each in each repeat, ``[repeats, n]``."""
        return self.together - self.alone

    @property
    def mean(self) -> Floats:
        """Mean gain of each, ``[n]``."""
        mean: Floats = self.of_repeats.mean(axis=0)
        return mean


def gains_of(games: Sequence[LearningGame], *, same_tests: bool, confidence: float = 0.95) -> Gains:
    """Compare models pair by pair on the same test samples.

    Parameters
    ----------
    games : sequence of LearningGame
        Repeats.
    same_tests : bool
        Whether the repeats are measured on the same test samples, of which each then counts once.
    confidence : float
        Of Student's intervals over test samples, or parts of them where they are many.
    """
    everyone = np.arange(games[0].n)
    alone = np.stack([game.alone_values for game in games])
    together = np.stack([game.of_members(np.ones((1, game.n), dtype=np.bool_))[0] for game in games])
    pairs = [
        list(
            zip(
                game.measure.in_parts(game.together, everyone),
                game.measure.in_parts(game.alone, everyone),
                strict=True,
            )
        )
        for game in games
    ]
    low, high = np.empty(len(everyone)), np.empty(len(everyone))
    for i in everyone.tolist():
        differences = [after[0] - before[0] for after, before in (each[i] for each in pairs)]
        sizes = [each[i][0][1] for each in pairs]
        if same_tests:
            differences, sizes = [np.mean(differences, axis=0)], sizes[:1]
        mean, reach = mean_and_reach(np.concatenate(differences), np.concatenate(sizes), confidence)
        low[i], high[i] = mean - reach, mean + reach
    return Gains(alone=alone, together=together, low=low, high=high)


def mean_and_reach(values: Floats, sizes: Floats, confidence: float) -> tuple[float, float]:
    """Mean of means of parts, weighted by their sizes, and half the width of Student's interval; NaN for one."""
    weights = sizes / sizes.sum()
    mean = float(weights @ values)
    if len(values) < 2:
        return mean, math.nan
    variance = float((weights**2 * (values - mean) ** 2).sum()) * len(values) / (len(values) - 1)
    return mean, float(student.ppf((1 + confidence) / 2, len(values) - 1)) * math.sqrt(variance)
