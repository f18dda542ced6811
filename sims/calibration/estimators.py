"""Estimators of clocks, delays, losses and step times from records.

Quantiles are used where first contacts, or busy or suspended machines, leave outliers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["delay_of_exchanges", "estimate_clock", "loss_of_exchanges", "step_time"]

Floats = NDArray[np.float64]

_LONGEST_INTERVAL_IN_MEDIANS = 5.0  # anything longer is an absence, not a period
_NORMAL_QUARTILES = 1.3489795  # distance between the quartiles of a standard normal
_NEGLIGIBLE = 0.005


def estimate_clock(intervals: Sequence[Floats]) -> tuple[float, float, float]:
    """Estimate the law of the intervals between the exchanges that each node starts.

    A node's period is the mean of its intervals, so that the number of messages is that observed even where a
    node skipped some; intervals longer than five medians count as absences. Jitter: a uniform law on
    ``p · (1 ± j)`` has quartiles ``p · j`` apart. The nodes' periods are medianed; the variance of their
    logarithms, less what the error of the means explains, is ``sigma²``; 0 unless that is significant.

    Parameters
    ----------
    intervals : sequence of ndarray
        For each node, seconds between starts of consecutive exchanges; those with none are passed over.

    Returns
    -------
    period : float
        Seconds.
    jitter : float
        Periods are spread evenly over ``period · (1 ± jitter)``.
    sigma : float
        Standard deviation of the logarithm of the nodes' own periods.
    """
    periods, jitters, errors = [], [], []
    for own in intervals:
        if not len(own):
            continue
        median = float(np.median(own))
        kept = own[own <= _LONGEST_INTERVAL_IN_MEDIANS * median]
        lower, upper = np.percentile(kept, (25, 75))
        periods.append(float(kept.mean()))
        jitters.append((upper - lower) / median)
        errors.append(float(kept.var()) / len(kept) / periods[-1] ** 2)
    jitter = float(np.median(jitters))
    sigma = _spread(np.log(periods), float(np.mean(errors)))
    return (
        float(np.median(periods)),
        0.0 if jitter < _NEGLIGIBLE else min(jitter, 0.99),
        0.0 if sigma < _NEGLIGIBLE else sigma,
    )


def _spread(logarithms: Floats, error: float) -> float:
    """Standard deviation beyond that of the error of each; 0 where chance explains it (three deviations)."""
    if len(logarithms) < 2:
        return 0.0
    excess = float(np.var(logarithms, ddof=1)) - error
    chance = 3 * error * float(np.sqrt(2 / (len(logarithms) - 1)))
    return float(np.sqrt(excess)) if excess > chance else 0.0


def delay_of_exchanges(seconds: Floats) -> tuple[float, float]:
    """Median (seconds) and deviation of the logarithm of one-way delays, from the durations of exchanges.

    An exchange is a message and its answer. Both are taken to need half the time, which is true of push-pull,
    where both carry a model; encoding, queueing and transmission are part of it. The deviation of the logarithm is
    the distance of its quartiles over that of a standard normal. Halving supposes that both ways of an exchange
    are alike; were they independent, each would vary about √2 times as much.
    """
    logarithms = np.log(np.maximum(seconds, 1e-9) / 2)
    lower, median, upper = np.percentile(logarithms, (25, 50, 75))
    return float(np.exp(median)), float((upper - lower) / _NORMAL_QUARTILES)


def loss_of_exchanges(failed: int, total: int, *, answered: bool) -> float:
    """Probability that a message is lost, from the share of exchanges that failed.

    Where a model answers the message, an exchange succeeds if neither is lost: ``(1 − p)² = 1 − failed /
    total``. Where they are only pushed, ``p`` is the share itself.
    """
    share = failed / total if total else 0.0
    return min(0.99, 1 - float(np.sqrt(1 - share)) if answered else share)


def step_time(work: Floats, gaps: Floats) -> float:
    """Seconds a node is busy with a received model.

    Where the records say how long the work took, that is their median. Older records lack it; there it is taken
    from the gaps between an event and the next training: where models queue the gap is the work itself, elsewhere
    it is longer. So the lowest percentile is taken: an upper bound, tight if at least one model in a hundred had
    to wait.
    """
    if len(work):
        return float(np.median(work))
    return float(np.percentile(gaps, 1)) if len(gaps) else 0.0
