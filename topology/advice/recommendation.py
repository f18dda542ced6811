"""Recommendations and refusals of the adviser."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from topology.cost import SequenceCost
from topology.spectrum import MixingRate

__all__ = ["Advice", "Recommendation", "Refusal"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """One candidate and its predictions.

    Attributes
    ----------
    expression : str
        Its expression, for `topology.catalogue.build` and the command line.
    seconds : float
        Predicted time to the target: `rounds` × `seconds_per_round`. Compare candidates with it; it is not a
        promise.
    rounds : float
        Predicted rounds to the target, of order.
    ideal_rounds : float
        The same if every round averaged exactly.
    step : float
        Step size with which it takes that few rounds, in units of 1/L.
    seconds_per_round : float
        Computing and communicating.
    noise_lifetime, difference_lifetime : float
        S and H: rounds that noise, and constant differences, live on among neighbours; 1 is exact averaging.
    rate : MixingRate
        How it mixes in the worst case.
    cost : SequenceCost
    curve : float64 [rounds + 1]
        Its consensus curve, in expectation if it is random.
    hostile_neighbours : int, optional
        Hostile neighbours of each honest node that can be survived at best, by any rule; None if links change
        or have a direction, for which no such limit is known.
    why : str
        The reason for its rank, in a sentence.
    """

    expression: str
    seconds: float
    rounds: float
    ideal_rounds: float
    step: float
    seconds_per_round: float
    noise_lifetime: float
    difference_lifetime: float
    rate: MixingRate
    cost: SequenceCost
    curve: NDArray[np.float64]
    hostile_neighbours: int | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A candidate that is not recommended, and why."""

    expression: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """Recommendations, the best first, and the candidates refused."""

    recommendations: tuple[Recommendation, ...]
    refusals: tuple[Refusal, ...]

    @property
    def best(self) -> Recommendation:
        """The first recommendation."""
        return self.recommendations[0]
