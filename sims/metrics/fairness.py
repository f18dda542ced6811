"""Fairness: the spread of accuracy over nodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Fairness", "fairness", "gini", "jain_index"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fairness:
    """Spread of one quantity over nodes.

    Parameters
    ----------
    standard_deviation : float
        √((1/n) Σ (xᵢ − x̄)²); Li et al. 2020 compare its square.
    gini : float
        0 if all are equal; (n − 1)/n if one has everything.
    jain : float
        1 if all are equal; 1/n if one has everything.
    worst_tenth, best_tenth : float
        Means over the worst and the best 10 % of the nodes, at least one (Li et al. 2020).

    References
    ----------
    Li, Sanjabi, Beirami and Smith, "Fair resource allocation in federated learning", ICLR 2020.
    """

    standard_deviation: float
    gini: float
    jain: float
    worst_tenth: float
    best_tenth: float


def fairness(values: Floats, *, lower_is_better: bool = False) -> Fairness:
    """Measure the spread of a quantity over nodes.

    Parameters
    ----------
    values : ndarray
        Of each node, ``[n]``, not negative.
    lower_is_better : bool
        Which end is the worst.
    """
    ranked = np.sort(np.asarray(values, dtype=np.float64))
    tenth = max(1, round(len(ranked) / 10))
    low, high = float(ranked[:tenth].mean()), float(ranked[-tenth:].mean())
    return Fairness(
        standard_deviation=float(ranked.std()),
        gini=gini(ranked),
        jain=jain_index(ranked),
        worst_tenth=high if lower_is_better else low,
        best_tenth=low if lower_is_better else high,
    )


def gini(values: Floats) -> float:
    """Gini coefficient, Σᵢ Σⱼ |xᵢ − xⱼ| / (2 n² x̄): half the relative mean absolute difference.

    Returns
    -------
    float
        NaN where the mean is not positive.

    References
    ----------
    Gini, "Variabilità e mutabilità", 1912; in the form of Sen, "On economic inequality", 1973.
    """
    ranked = np.sort(np.asarray(values, dtype=np.float64))
    n, total = len(ranked), float(ranked.sum())
    if not total > 0:
        return float("nan")
    return float(((2 * np.arange(1, n + 1) - n - 1) * ranked).sum() / (n * total))


def jain_index(values: Floats) -> float:
    """Jain's fairness index, (Σ xᵢ)² / (n Σ xᵢ²).

    Returns
    -------
    float
        NaN if all values are 0.

    References
    ----------
    Jain, Chiu and Hawe, "A quantitative measure of fairness and discrimination for resource allocation in
    shared computer systems", DEC Research Report TR-301, 1984.
    """
    given = np.asarray(values, dtype=np.float64)
    squares = float((given**2).sum())
    return float(given.sum() ** 2 / (len(given) * squares)) if squares > 0 else float("nan")
