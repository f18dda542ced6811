"""Weights of accelerated gossip."""

from __future__ import annotations

import math

from gossipfl.errors import SettingError

__all__ = ["chebyshev_weight"]


def chebyshev_weight(gap: float) -> float:
    """γ of Muffliato's accelerated averaging, ``x⁺ = γ W x + (1 − γ) x⁻``, for a spectral gap λ of W.

    ``γ = 2 (1 − √(λ (1 − λ/4))) / (1 − λ/2)²``.

    References
    ----------
    Cyffers, Even, Bellet and Massoulié, "Muffliato: peer-to-peer privacy amplification for decentralized
    optimization and averaging", NeurIPS 2022.
    """
    if not 0 < gap <= 1:
        raise SettingError("a spectral gap lies between 0 and 1", expected="above 0, at most 1", got=gap)
    return 2 * (1 - math.sqrt(gap * (1 - gap / 4))) / (1 - gap / 2) ** 2
