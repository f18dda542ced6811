"""Gaussian differential privacy in closed form, for peers without further libraries."""

from __future__ import annotations

import math

from gossipfl.errors import SettingError

__all__ = ["delta_of", "largest_shift", "smallest_epsilon"]


def delta_of(mu: float, epsilon: float) -> float:
    """δ for which a Gaussian mechanism that is shifted by μ deviations is (ε, δ)-private.

    ``δ = Φ(μ/2 − ε/μ) − e^ε Φ(−μ/2 − ε/μ)``.

    References
    ----------
    Balle and Wang, "Improving the Gaussian mechanism for differential privacy", ICML 2018, theorem 8.
    """
    if mu <= 0:
        return 0.0
    above, below = mu / 2 - epsilon / mu, mu / 2 + epsilon / mu
    tail = math.erfc(below / math.sqrt(2)) / 2
    # e^ε alone may overflow where the product with the tail is below 1
    weighted = math.exp(epsilon + math.log(tail)) if tail > 0 else 0.0
    return math.erfc(-above / math.sqrt(2)) / 2 - weighted


def largest_shift(epsilon: float, delta: float) -> float:
    """The largest μ that is (ε, δ)-private, a little below it for rounding.

    Raises
    ------
    SettingError
        If ε is negative or no number, or δ no probability.
    """
    if not (epsilon >= 0 and math.isfinite(epsilon) and 0 < delta < 1):
        raise SettingError(
            "Gaussian noise gives no such guarantee",
            expected="an epsilon of at least 0, and a delta between 0 and 1",
            got=f"{epsilon} and {delta}",
        )
    low, high = 0.0, 1.0
    while delta_of(high, epsilon) <= delta and high < _LARGEST:
        low, high = high, 2 * high
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if delta_of(middle, epsilon) <= delta else (low, middle)
    return low * (1 - 1e-9)


def smallest_epsilon(mu: float, delta: float) -> float:
    """The smallest ε for which a shift by μ deviations is (ε, δ)-private, a little above it for rounding."""
    if delta_of(mu, 0.0) <= delta:
        return 0.0
    low, high = 0.0, 1.0
    while delta_of(mu, high) > delta and high < _LARGEST:
        low, high = high, 2 * high
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if delta_of(mu, middle) > delta else (low, middle)
    return high * (1 + 1e-9)


_LARGEST = 2.0**64
