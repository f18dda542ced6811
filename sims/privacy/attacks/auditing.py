"""Measures of a membership attack from its scores, and the ε that they prove at least.

A score is higher the more likely its sample was trained on. All intervals hold with the confidence asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, binom, binomtest, rankdata

from sims.privacy.errors import NotAccountable

__all__ = [
    "Rate",
    "advantage",
    "area_under_curve",
    "epsilon_of_one_run",
    "epsilon_of_rates",
    "rate_of",
    "true_rate_at",
]

Floats = NDArray[np.float64]

_GUESSED = (0.02, 0.1, 0.3, 1.0)
"""Shares of the samples of one run that are guessed at; the best is taken, at so many times the significance."""
_LARGEST_EPSILON = 64.0


@dataclass(frozen=True, slots=True)
class Rate:
    """A share, and the interval of Clopper and Pearson (1934) around it."""

    value: float
    low: float
    high: float


def rate_of(count: int, total: int, *, confidence: float = 0.95) -> Rate:
    """Share of ``count`` among ``total`` independent trials, with its exact interval."""
    if not total:
        return Rate(math.nan, 0.0, 1.0)
    interval = binomtest(count, total).proportion_ci(confidence_level=confidence, method="exact")
    return Rate(count / total, float(interval.low), float(interval.high))


def area_under_curve(members: Floats, others: Floats) -> float:
    """Probability that a member scores higher than another sample, ties counted half (Mann & Whitney 1947)."""
    _require_both(members, others)
    ranks = rankdata(np.concatenate([members, others]))[: len(members)]
    least = len(members) * (len(members) + 1) / 2
    return float((ranks.sum() - least) / (len(members) * len(others)))


def advantage(members: Floats, others: Floats) -> float:
    """Largest difference of true and false positive rates over all thresholds (Yeom et al., CSF 2018)."""
    _require_both(members, others)
    thresholds = np.unique(np.concatenate([members, others]))
    true, false = _at_least(members, thresholds), _at_least(others, thresholds)
    return float(max(0.0, (true / len(members) - false / len(others)).max()))


def true_rate_at(members: Floats, others: Floats, false_rate: float, *, confidence: float = 0.95) -> Rate:
    """True positive rate at the lowest threshold whose false positive rate is at most ``false_rate``.

    References
    ----------
    Carlini et al., "Membership inference attacks from first principles", IEEE S&P 2022.
    """
    _require_both(members, others)
    allowed = math.floor(false_rate * len(others))
    above = np.sort(others)[::-1]
    threshold = above[allowed] if allowed < len(others) else -math.inf
    return rate_of(int((members > threshold).sum()), len(members), confidence=confidence)


def epsilon_of_rates(
    members: Floats, others: Floats, *, delta: float, confidence: float = 0.95, seed: int = 0
) -> float:
    """Lower bound of ε from true and false positive rates, over independent trials; 0 if they prove nothing.

    Under (ε, δ)-privacy ``TPR ≤ e^ε FPR + δ``, and the same of the negatives (Kairouz et al. 2015). One half of
    the scores, at random, chooses the threshold; the other half is counted there, with Clopper–Pearson bounds on
    both rates (Jagielski et al. 2020), so that choosing does not make the bound too high.

    Parameters
    ----------
    members, others : ndarray
        Scores of independent trials, float64 ``[m]`` and ``[n]``. Several samples of one run are not independent
        where they influence one another; `epsilon_of_one_run` holds for these.
    delta, confidence : float
    seed : int
        Of the division into halves.
    """
    _require_both(members, others)
    generator = np.random.Generator(np.random.Philox(key=[seed, 11]))
    (chosen, members), (chosen_others, others) = _halves(members, generator), _halves(others, generator)
    if not len(chosen) or not len(chosen_others):
        return 0.0
    thresholds = np.unique(np.concatenate([chosen, chosen_others]))
    thresholds = thresholds[:: max(1, len(thresholds) // 200)]
    bounds = _proven(chosen, chosen_others, thresholds, delta=delta, confidence=confidence)
    which, best = np.unravel_index(np.argmax(bounds), bounds.shape)
    found = _proven(members, others, thresholds[best : best + 1], delta=delta, confidence=confidence)
    return float(found[which, 0])


def epsilon_of_one_run(
    scores: Floats, included: NDArray[np.bool_], *, delta: float, confidence: float = 0.95
) -> float:
    """Lower bound of ε from one run in which a fair coin decided of each sample whether it was trained on.

    The highest scores are guessed to be members and the lowest not to be. Under (ε, δ)-privacy of each sample,
    the number of right guesses among r is hardly larger than a binomial of r and ``e^ε/(1 + e^ε)``, whatever the
    samples do to one another.

    Parameters
    ----------
    scores : ndarray
        Float64 ``[m]``.
    included : ndarray
        The coins, bool ``[m]``.
    delta, confidence : float

    References
    ----------
    Steinke, Nasr and Jagielski, "Privacy auditing with one (1) training run", NeurIPS 2023, theorem 5.2.
    """
    significance = (1 - confidence) / len(_GUESSED)
    order = np.argsort(scores, kind="stable")
    found = 0.0
    for share in _GUESSED:
        each = max(1, round(share * len(scores) / 2))
        right = int(included[order[-each:]].sum() + (~included[order[:each]]).sum())
        found = max(found, _proven_by_guesses(len(scores), 2 * each, right, delta=delta, p=significance))
    return found


def _proven_by_guesses(samples: int, guesses: int, right: int, *, delta: float, p: float) -> float:
    """The largest ε that so many right guesses refute at significance p."""
    low, high = 0.0, 1.0
    while _chance_of_guesses(samples, guesses, right, high, delta) < p:
        low, high = high, 2 * high
        if high > _LARGEST_EPSILON:
            return low
    if not low and _chance_of_guesses(samples, guesses, right, 0.0, delta) >= p:
        return 0.0
    for _ in range(40):
        middle = (low + high) / 2
        if _chance_of_guesses(samples, guesses, right, middle, delta) < p:
            low = middle
        else:
            high = middle
    return low


def _chance_of_guesses(samples: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """At most how probable so many right guesses are under (ε, δ)-privacy (Steinke et al. 2023, theorem 5.2)."""
    rate = 1 / (1 + math.exp(-epsilon))
    pure = float(binom.sf(right - 1, guesses, rate))
    if not delta or not right:
        return min(1.0, pure)
    steps = np.arange(1, right + 1)
    gained = binom.pmf(right - steps, guesses, rate).cumsum()
    return min(1.0, pure + float((gained / steps).max()) * 2 * samples * delta)


def _proven(
    members: Floats, others: Floats, thresholds: Floats, *, delta: float, confidence: float
) -> Floats:
    """ε that the rates at each threshold prove: from those above it, and from those below it, ``[2, t]``."""
    # Of each two-sided interval one end is used, so both hold together with the confidence asked for.
    tail = (1 - confidence) / 2
    true, false = _at_least(members, thresholds), _at_least(others, thresholds)
    true_low, missed_high = _ends(true, len(members), tail)
    rejected_low, false_high = _ends(len(others) - false, len(others), tail)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.log((np.stack([true_low, rejected_low]) - delta) / np.stack([false_high, missed_high]))
    return np.nan_to_num(np.maximum(found, 0.0), nan=0.0)


def _ends(counts: NDArray[np.int64], total: int, tail: float) -> tuple[Floats, Floats]:
    """Lower ends of shares, and upper ends of what is left of one; each is wrong with probability ``tail``."""
    low = np.where(counts > 0, beta.ppf(tail, counts, total - counts + 1), 0.0)
    left_high = np.where(counts > 0, 1 - low, 1.0)
    return low, left_high


def _halves(scores: Floats, generator: np.random.Generator) -> tuple[Floats, Floats]:
    mixed = generator.permutation(scores)
    return mixed[: len(mixed) // 2], mixed[len(mixed) // 2 :]


def _at_least(scores: Floats, thresholds: Floats) -> NDArray[np.int64]:
    found: NDArray[np.int64] = len(scores) - np.searchsorted(np.sort(scores), thresholds, side="left")
    return found


def _require_both(members: Sequence[float] | Floats, others: Sequence[float] | Floats) -> None:
    if not len(members) or not len(others):
        raise NotAccountable(
            "an attack is measured on samples that were trained on and on others",
            expected="at least one of each",
            got=f"{len(members)} and {len(others)}",
        )
