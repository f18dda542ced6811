"""Shapley values of cooperative games: exact, and sampled over permutations with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from sims.errors import InvalidScenario

__all__ = [
    "LARGEST_EXACT",
    "Estimate",
    "Game",
    "Masks",
    "every_coalition",
    "exact",
    "leave_one_out",
    "sampled",
]

Floats = NDArray[np.float64]
Masks = NDArray[np.bool_]
Game = Callable[[Masks], Floats]
"""Values ``[C]`` of coalitions ``[C, n]``: asked for many at once, so that they can be simulated side by side."""

#: Most participants whose coalitions are all looked at: 2¹² = 4,096.
LARGEST_EXACT = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Estimated Shapley values of n participants.

    Parameters
    ----------
    values : ndarray
        ``[n]``.
    low, high : ndarray
        Ends of each one's confidence interval, ``[n]``; equal to the values if they are exact.
    permutations : int
        Drawn; 0 if the values are exact.
    coalitions : int
        Different coalitions that were looked at.
    """

    values: Floats
    low: Floats
    high: Floats
    permutations: int
    coalitions: int

    @property
    def is_exact(self) -> bool:
        """Whether all coalitions were looked at."""
        return self.permutations == 0


def every_coalition(n: int) -> Masks:
    """All coalitions of n participants, bool ``[2ⁿ, n]``: row c holds those whose bit is set in c.

    Raises
    ------
    InvalidScenario
        If there are too many.
    """
    if n > LARGEST_EXACT:
        raise InvalidScenario(
            f"{n} participants have 2^{n} coalitions, too many to look at each",
            expected=f"at most {LARGEST_EXACT} participants",
            got=n,
            remedy="Sample permutations instead.",
        )
    return (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(np.bool_)


def exact(values: Floats) -> Floats:
    """Shapley values from the values of all coalitions.

    φ_i = Σ_{S ∌ i} |S|! (n − |S| − 1)! / n! · (v(S ∪ {i}) − v(S)).

    Parameters
    ----------
    values : ndarray
        ``[2ⁿ, ...]``, in the order of `every_coalition`; several games at once have further dimensions.

    Returns
    -------
    ndarray
        ``[n, ...]``.

    References
    ----------
    Shapley, "A value for n-person games", 1953.

    Examples
    --------
    >>> exact(np.array([0.0, 1.0, 2.0, 5.0]))  # alone they have 1 and 2, together 5
    array([2., 3.])
    """
    n = len(values).bit_length() - 1
    sizes = every_coalition(n).sum(axis=1)
    weights = np.array([1 / (n * math.comb(n - 1, size)) for size in range(n)])
    found = []
    for i in range(n):
        without = np.flatnonzero(np.arange(2**n) >> i & 1 == 0)
        gains = values[without | 1 << i] - values[without]
        found.append(np.tensordot(weights[sizes[without]], gains, axes=1))
    return np.array(found)


def leave_one_out(game: Game, n: int) -> Floats:
    """What each participant adds to all others, v(N) − v(N ∖ {i}): ``[n]``."""
    everybody = np.ones((1, n), dtype=np.bool_)
    values = game(np.concatenate([everybody, ~np.eye(n, dtype=np.bool_)]))
    lost: Floats = values[0] - values[1:]
    return lost


def sampled(
    game: Game,
    n: int,
    *,
    permutations: int,
    seed: int,
    confidence: float = 0.95,
    truncation: float | None = None,
) -> Estimate:
    """Estimate Shapley values from what each participant adds to those before it in random permutations.

    Permutations come in antithetic pairs, a permutation and its reverse: who comes late in one comes early in the
    other. Intervals are Student's over the means of pairs, which are independent.

    Parameters
    ----------
    game : Game
        Called once; with ``truncation`` n times.
    n : int
    permutations : int
        At least 4, and even.
    seed : int
    confidence : float
    truncation : float, optional
        Leave a permutation once its coalition's value is as near to that of all participants: the next one is
        said to add the rest, and those after it nothing. Saves coalitions where few participants suffice, and
        biases values towards those that come early by about this much.

    Raises
    ------
    InvalidScenario
        If the number of permutations is odd or below 4.

    References
    ----------
    Castro, Gómez & Tejada, "Polynomial calculation of the Shapley value based on sampling", 2009. Mitchell et al.,
    "Sampling permutations for Shapley value estimation", JMLR 23, 2022 (section 4.1, antithetic sampling).
    Ghorbani & Zou, "Data Shapley", ICML 2019 (algorithm 1, truncation).
    """
    if permutations < 4 or permutations % 2:
        raise InvalidScenario(
            "Shapley values are estimated from pairs of permutations",
            expected="an even number, at least 4",
            got=permutations,
        )
    generator = np.random.Generator(np.random.Philox(key=[seed, 4]))
    first = np.stack([generator.permutation(n) for _ in range(permutations // 2)])
    orders = np.stack([first, first[:, ::-1]], axis=1).reshape(permutations, n)
    prefixes = _prefixes(orders)
    seen: set[bytes] = set()
    if truncation is None:
        values = game(prefixes.reshape(-1, n)).reshape(permutations, n + 1)
        seen.update(np.packbits(mask).tobytes() for mask in prefixes.reshape(-1, n))
    else:
        values = _truncated(game, prefixes, truncation, seen)
    added = np.empty((permutations, n))
    np.put_along_axis(added, orders, np.diff(values, axis=1), axis=1)
    pairs = added.reshape(-1, 2, n).mean(axis=1)
    mean = pairs.mean(axis=0)
    error = pairs.std(axis=0, ddof=1) / math.sqrt(len(pairs))
    reach = float(student.ppf((1 + confidence) / 2, len(pairs) - 1)) * error
    return Estimate(
        values=mean, low=mean - reach, high=mean + reach, permutations=permutations, coalitions=len(seen)
    )


def _prefixes(orders: NDArray[np.int64]) -> Masks:
    """The coalitions that permutations pass through, bool ``[P, n + 1, n]``: from nobody to everybody."""
    places = np.argsort(orders, axis=1)
    return places[:, None, :] < np.arange(orders.shape[1] + 1)[None, :, None]


def _truncated(game: Game, prefixes: Masks, tolerance: float, seen: set[bytes]) -> Floats:
    count, lengths, n = prefixes.shape
    ends = game(np.array([[False] * n, [True] * n]))
    values = np.full((count, lengths), ends[1])
    values[:, 0] = ends[0]
    goes_on = np.abs(ends[1] - values[:, 0]) > tolerance
    for length in range(1, n):
        asked = prefixes[goes_on, length]
        if not len(asked):
            break
        seen.update(np.packbits(mask).tobytes() for mask in asked)
        found = game(asked)
        values[goes_on, length] = found
        goes_on[goes_on] = np.abs(ends[1] - found) > tolerance
    return values
