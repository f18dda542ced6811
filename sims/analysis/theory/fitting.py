"""Fitted rates of consensus."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import linregress

__all__ = ["LinearRate", "fit_linear_rate"]

Floats = NDArray[np.float64]

_FEWEST = 4
_ABOVE_FLOOR = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearRate:
    """Linear (geometric) convergence, ``value(t) ≈ start · factorᵗ``.

    Parameters
    ----------
    factor : float
        The factor by which a round reduces the consensus distance.
    standard_error : float
        Of ``factor``, as least squares on the logarithm has it.
    start : float
        The fitted line at round 0.
    first, last : float
        Rounds between which was fitted.
    determination : float
        R² of the fit; 1 is a perfect line.
    """

    factor: float
    standard_error: float
    start: float
    first: float
    last: float
    determination: float

    @property
    def modulus(self) -> float:
        """√factor: the factor for the distance itself; for a fixed symmetric matrix, |λ₂|."""
        return float(np.sqrt(self.factor))

    def at(self, rounds: Floats) -> Floats:
        """The fitted line at these rounds."""
        values: Floats = self.start * self.factor**rounds
        return values


def fit_linear_rate(rounds: Floats, distances: Floats, *, resolution: float = 0.0) -> LinearRate | None:
    """Fit a line to the logarithm of a consensus distance, where it falls like one.

    The first half of the fall, in which all modes still count, is left out, and so is whatever is within a factor
    of ten of the floor: the lowest value there is if the curve ends flat, or `resolution`.

    Parameters
    ----------
    rounds, distances : ndarray
        Shape ``[k]``, rounds ascending.
    resolution : float
        Below this, distances are rounding.

    Returns
    -------
    LinearRate or None
        None if there are not four points to fit to, or the distance does not fall.
    """
    usable = np.isfinite(distances) & (distances > max(resolution, 0.0))
    rounds, distances = rounds[usable], distances[usable]
    if len(rounds) < _FEWEST:
        return None
    peak = int(np.argmax(distances))
    rounds, distances = rounds[peak:], distances[peak:]
    falling = distances > _floor(distances)
    end = len(distances) if falling.all() else int(np.argmin(falling))
    if end < _FEWEST:
        return None
    begin = min(int(np.searchsorted(rounds, (rounds[0] + rounds[end - 1]) / 2)), end - _FEWEST)
    t, logarithms = rounds[begin:end], np.log(distances[begin:end])
    line = linregress(t, logarithms)
    if not line.slope < 0:
        return None
    factor = float(np.exp(line.slope))
    return LinearRate(
        factor=factor,
        standard_error=float(factor * line.stderr),
        start=float(np.exp(line.intercept)),
        first=float(t[0]),
        last=float(t[-1]),
        determination=float(line.rvalue**2),
    )


def _floor(distances: Floats) -> float:
    """The floor of a curve: ten times its last level, if its last quarter is level; else 0."""
    tail = distances[-max(_FEWEST, len(distances) // 4) :]
    if len(distances) <= _FEWEST or tail.max() > _ABOVE_FLOOR * tail.min():
        return 0.0
    level = float(np.median(tail))
    return _ABOVE_FLOOR * level if distances[0] > _ABOVE_FLOOR**2 * level else 0.0
