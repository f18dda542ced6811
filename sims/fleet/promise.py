"""Promises to each phone's owner, where only noisy sums of the phones' updates are seen."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gossipfl.privacy.gaussian import delta_of, largest_shift
from sims.errors import InvalidScenario

__all__ = ["Promise", "epsilon_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """Sums of ``summed`` phones' updates are opened, and each phone's noise is set by how often it takes part.

    Each phone shortens its update to norm S, the clip, and adds normal noise; nobody sees anything but sums
    of ``summed`` such updates, and what follows from them. An observer may be ``colluding`` phones of a sum,
    so it knows their updates and their noise. With all updates of one phone, or with zeros in their place, what it
    sees are Gaussian mechanisms of noise multiplier z, ``takes_part`` of them: together one whose shift is
    μ = √takes_part / z. Who takes part when counts as known: nothing is gained from chance.

    Parameters
    ----------
    epsilon : float
        ε; infinite for no noise.
    delta : float
    takes_part : int
        Updates of each phone.
    summed : int
        Phones whose updates a sum has: 1 where each update is seen by itself (local privacy).
    colluding : int
        Of these, phones whose noise the observer knows.

    Raises
    ------
    InvalidScenario
        If nobody's noise is unknown, or δ is no probability.
    """

    epsilon: float
    delta: float
    takes_part: int
    summed: int
    colluding: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.colluding < self.summed:
            raise InvalidScenario(
                "an observer that knows the noise of all phones of a sum knows each update",
                expected=f"colluding of 0 to {self.summed - 1}",
                got=self.colluding,
            )
        if not 0 < self.delta < 1 or not self.epsilon > 0:
            raise InvalidScenario(
                "a promise needs epsilon above 0, and delta between 0 and 1",
                got=f"epsilon={self.epsilon}, delta={self.delta}",
            )

    @property
    def shift(self) -> float:
        """μ: the largest that is (ε, δ)-private, in deviations of the noise."""
        return math.inf if math.isinf(self.epsilon) else largest_shift(self.epsilon, self.delta)

    @property
    def multiplier(self) -> float:
        """z: the noise of an opened sum that the observer does not know, over S."""
        return math.sqrt(self.takes_part) / self.shift

    @property
    def of_each(self) -> float:
        """Deviation of the noise that each phone adds to each number of its update, over S."""
        return self.multiplier / math.sqrt(self.summed - self.colluding)

    def of_mean(self, cohort: int) -> float:
        """Deviation of the noise in the mean of so many phones' updates, over S."""
        return self.of_each / math.sqrt(cohort)


def epsilon_of(shift: float, *, delta: float) -> float:
    """The smallest ε for which a Gaussian mechanism with this shift is (ε, δ)-private."""
    if shift == 0:
        return 0.0
    if not math.isfinite(shift):
        return math.inf
    low, high = 0.0, 1.0
    while delta_of(shift, high) > delta:
        low, high = high, 2 * high
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if delta_of(shift, middle) > delta else (low, middle)
    return high
