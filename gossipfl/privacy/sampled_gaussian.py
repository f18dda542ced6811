"""Guarantees of DP-SGD: Gaussian mechanisms on random batches, by dp-accounting."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from gossipfl.privacy.guarantees import require_accounting, require_delta

__all__ = ["ORDERS", "Mechanism", "losses", "most_steps", "sampled_epsilon"]

#: Orders of Rényi divergence: those of Opacus, and larger ones for much noise.
ORDERS = (
    *(1 + order / 10 for order in range(1, 100)),
    *range(12, 64),
    80,
    96,
    128,
    192,
    256,
    384,
    512,
    1024,
)
_MOST = 2**40


@dataclass(frozen=True, slots=True, order=True)
class Mechanism:
    """The mechanism of one training step.

    Parameters
    ----------
    rate : float
        Probability of each sample to be in the batch.
    multiplier : float
        Deviation of the noise, in units of the largest norm of a sample's gradient.
    """

    rate: float
    multiplier: float


def sampled_epsilon(steps: Mapping[Mechanism, int], *, delta: float, shift: float = 0.0) -> float:
    """Give ε of training steps for each sample, added or removed.

    Parameters
    ----------
    steps : mapping of Mechanism to int
        How many steps of each kind.
    delta : float
    shift : float
        μ of Gaussian releases beside them, composed.

    Raises
    ------
    SettingError
        If dp-accounting is missing, or δ is no probability.

    References
    ----------
    Mironov, Talwar and Zhang, "Rényi differential privacy of the sampled Gaussian mechanism", 2019; ε by Canonne,
    Kamath and Steinke, "The discrete Gaussian for differential privacy", NeurIPS 2020, proposition 12.
    """
    require_accounting()
    require_delta(delta)
    if not shift and not any(steps.values()):
        return 0.0
    from dp_accounting.rdp import compute_epsilon

    total = [shift**2 / 2 * order for order in ORDERS]
    for mechanism, count in steps.items():
        if not count:
            continue
        total = [sum_ + count * loss for sum_, loss in zip(total, losses(mechanism), strict=True)]
    return float(compute_epsilon(ORDERS, total, delta)[0])


def most_steps(
    mechanism: Mechanism, spent: Mapping[Mechanism, int], *, epsilon: float, delta: float, shift: float = 0.0
) -> int:
    """Count the further steps of a kind that a budget (ε, δ) allows after what is spent.

    Parameters
    ----------
    mechanism : Mechanism
    spent : mapping of Mechanism to int
    epsilon, delta : float
    shift : float
        As for `sampled_epsilon`.
    """

    def allows(count: int) -> bool:
        steps = {**spent, mechanism: spent.get(mechanism, 0) + count}
        return sampled_epsilon(steps, delta=delta, shift=shift) <= epsilon

    if not allows(0):
        return 0
    low, high = 0, 1
    while high < _MOST and allows(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if allows(middle) else (low, middle)
    return low


@lru_cache(maxsize=256)
def losses(mechanism: Mechanism) -> tuple[float, ...]:
    """Rényi divergence of one step at each of `ORDERS`: exact at whole ones, a bound at others."""
    import dp_accounting
    from dp_accounting.rdp import RdpAccountant

    inner: Any = dp_accounting.GaussianDpEvent(mechanism.multiplier)
    event = inner if mechanism.rate >= 1 else dp_accounting.PoissonSampledDpEvent(mechanism.rate, inner)
    accountant, log = RdpAccountant(ORDERS), logging.getLogger("absl")
    log.addFilter(_says_more)
    try:
        accountant.compose(event)
    finally:
        log.removeFilter(_says_more)
    found = (float(loss) for loss in accountant._rdp)
    return tuple(loss if math.isfinite(loss) else math.inf for loss in found)


def _says_more(record: logging.LogRecord) -> bool:
    """Whether a record says more than that an order is left out, which makes ε larger and never smaller."""
    return "failed to converge" not in record.getMessage()
