"""Max–min fair rates: how transfers at the same time share the links that they pass through.

Bertsekas & Gallagher, Data Networks, 2nd edition, section 6.5.2 (progressive filling): all rates grow together
until a link is full or a transfer has the speed of its own path; those concerned stay, and the others grow on.
TCP connections share a link about so.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["fair_rates"]

_NEARLY = 1 + 1e-12
_GROWS = -1.0


@njit(cache=True)
def fair_rates(
    through: NDArray[np.int64], limits: NDArray[np.float64], capacities: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Share links fairly.

    Parameters
    ----------
    through : ndarray
        Links of each transfer, int64 ``[F, K]``; −1 for none.
    limits : ndarray
        Speed of each transfer's own path, ``[F]``; may be infinite.
    capacities : ndarray
        Of the links, ``[L]``; may be infinite.

    Returns
    -------
    ndarray
        ``[F]``; infinite where nothing limits a transfer.
    """
    rates = np.full(len(limits), _GROWS)
    left = capacities.copy()
    growing = np.zeros(len(capacities), dtype=np.int64)
    for f in range(len(limits)):
        _count(growing, through[f])
    while (rates == _GROWS).any():
        level = _level(rates, limits, left, growing)
        if level == np.inf:
            return np.where(rates == _GROWS, np.inf, rates)
        full = left <= level * _NEARLY * growing
        for f in range(len(limits)):
            if rates[f] == _GROWS and (limits[f] <= level * _NEARLY or _is_any(full, growing, through[f])):
                rates[f] = min(level, limits[f])
                for link in through[f]:
                    if link >= 0:
                        left[link] = max(0.0, left[link] - rates[f])
        growing[:] = 0
        for f in range(len(limits)):
            if rates[f] == _GROWS:
                _count(growing, through[f])
    return rates


@njit(cache=True)
def _count(counts: NDArray[np.int64], links: NDArray[np.int64]) -> None:
    for link in links:
        if link >= 0:
            counts[link] += 1


@njit(cache=True)
def _is_any(full: NDArray[np.bool_], growing: NDArray[np.int64], links: NDArray[np.int64]) -> bool:
    found = False
    for link in links:
        found |= link >= 0 and growing[link] > 0 and full[link]
    return found


@njit(cache=True)
def _level(
    rates: NDArray[np.float64],
    limits: NDArray[np.float64],
    left: NDArray[np.float64],
    growing: NDArray[np.int64],
) -> float:
    """The rate at which the next transfers stay: where a link is full, or a path has no more."""
    level = np.inf
    for link in range(len(left)):
        if growing[link] > 0:
            level = min(level, left[link] / growing[link])
    for f in range(len(limits)):
        if rates[f] == _GROWS:
            level = min(level, limits[f])
    return level
