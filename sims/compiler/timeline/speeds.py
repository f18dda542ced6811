"""Speeds of nodes, and how many steps each does in a round."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sims.compiler.timeline.draws import SPEED, lognormal, uniform
from sims.scenario import Scenario

__all__ = ["slowness_of", "step_seconds", "steps_of_round"]


def slowness_of(scenario: Scenario, numbers: Sequence[int]) -> NDArray[np.float64]:
    """How many times longer than the median node each takes, ``[n]``, by the number it is drawn by."""
    sigma = scenario.network.period_sigma
    if not sigma:
        return np.ones(len(numbers))
    return np.array([lognormal(uniform(scenario.seed, SPEED, number, 0), 1.0, sigma) for number in numbers])


def steps_of_round(scenario: Scenario, numbers: Sequence[int]) -> NDArray[np.int64]:
    """Local steps that each node does in a round, int64 ``[n]``."""
    steps = scenario.training.local_steps
    if not scenario.training.by_speed:
        return np.full(len(numbers), steps)
    return np.maximum(1, np.floor(steps / slowness_of(scenario, numbers) + 0.5)).astype(np.int64)


def step_seconds(scenario: Scenario, numbers: Sequence[int]) -> NDArray[np.float64]:
    """Seconds that each node needs for one of ``local_steps``, ``[n]``.

    Those who do as many steps as they have time for all need the same time for a round.
    """
    training = scenario.training
    each = training.step_seconds / training.local_steps if training.enabled else 0.0
    slowness = np.ones(len(numbers)) if training.by_speed else slowness_of(scenario, numbers)
    return each * slowness
