"""Spectral gaps known in closed form, under Metropolis–Hastings (here: uniform) weights.

Each is ``1 − |λ₂|`` with the modulus over all eigenvalues but the one at 1, for every n.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, pi

import numpy as np

from topology.bounds import check_at_least

__all__ = [
    "complete_gap",
    "exponential_gap",
    "hypercube_gap",
    "path_gap",
    "ring_gap",
    "star_gap",
    "torus_gap",
]


def ring_gap(n: int) -> float:
    """Return the gap of the ring: ⅔(1 − cos 2π/n) for n ≥ 4."""
    return torus_gap([n])


def path_gap(n: int) -> float:
    """Return the gap of the path: ⅔(1 − cos π/n) for n ≥ 3, and 1 below."""
    n = check_at_least("n", n, 1)
    return 1.0 if n < 3 else 2 / 3 * (1 - cos(pi / n))


def torus_gap(shape: Sequence[int]) -> float:
    """Return the gap of the torus, from the eigenvalues ``(1 + Σ 2cos(2πjₐ/a)) / (degree + 1)``.

    For an a×a torus with a ≥ 4 it is ⅖(1 − cos 2π/a).
    """
    sides = [check_at_least("every length of shape", side, 1) for side in shape]
    sides = [side for side in sides if side > 1]
    # An axis of length 2 has one link a node, so eigenvalues ±1; a longer one has two.
    degree = sum(1 if side == 2 else 2 for side in sides)
    values = [np.array([1.0, -1.0]) if s == 2 else 2 * np.cos(2 * pi * np.arange(s) / s) for s in sides]
    if not values:
        return 1.0
    second = max(1 + degree - v[0] + v[1:].max() for v in values)
    lowest = 1 + sum(v.min() for v in values)
    return float(1 - max(second, abs(lowest)) / (degree + 1))


def hypercube_gap(dimension: int) -> float:
    """Return the gap of the hypercube: 2/(d + 1) for d ≥ 1, and 1 for a single node."""
    d = check_at_least("dimension", dimension, 0)
    return 1.0 if d == 0 else 2 / (d + 1)


def star_gap(n: int) -> float:
    """Return the gap of the star: 1/n for n ≥ 3, and 1 below."""
    n = check_at_least("n", n, 1)
    return 1.0 if n < 3 else 1 / n


def complete_gap(n: int) -> float:
    """Return the gap of the complete graph: 1."""
    check_at_least("n", n, 1)
    return 1.0


def exponential_gap(n: int) -> float:
    """Return the gap of the static exponential graph: 2/(1 + ⌈log₂ n⌉) for even n.

    For odd n it is the largest modulus of ``(1 + Σ ω^{j 2^m}) / (1 + ⌈log₂ n⌉)`` over j, found in O(n log n).

    References
    ----------
    Ying et al., "Exponential graph is provably efficient for decentralized deep training", NeurIPS 2021,
    Proposition 1.
    """
    n = check_at_least("n", n, 1)
    hops = (n - 1).bit_length()
    if n == 1:
        return 1.0
    if n % 2 == 0:
        return 2 / (1 + hops)
    j = np.arange(1, n)
    values = np.ones(n - 1, dtype=np.complex128)
    for m in range(hops):
        values += np.exp(2j * pi * (j * 2**m % n) / n)
    return float(1 - np.abs(values).max() / (1 + hops))
