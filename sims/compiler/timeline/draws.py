"""Random numbers as pure functions of (seed, purpose, node, counter).

No generator is ever advanced, so the n-th draw of a node does not depend on what other nodes did before it,
nor on how a run was cut into windows: the compiled timeline, the reference executor and a resumed run all draw
alike.
"""

from __future__ import annotations

import numpy as np
from numba import int64, uint64

from sims.compiler.timeline.arithmetic import exact_exp, exact_log, normal_quantile
from sims.compiler.timeline.compiled import compiled

__all__ = ["below", "lognormal", "uniform", "weibull", "word"]

# Purposes: draws for different purposes are independent.
PHASE, JITTER, NEIGHBOUR, LOSS, DELAY, CYCLE, SESSION, PLAN, PART, FLOW, HOST, SPEED, CHARGING, SLOW = range(
    14
)

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


@compiled
def _mix(x: int) -> int:
    """Finaliser of SplitMix64 (Steele, Lea & Flood 2014)."""
    x = uint64(x)
    x = (x ^ (x >> uint64(30))) * _FIRST
    x = (x ^ (x >> uint64(27))) * _SECOND
    return x ^ (x >> uint64(31))


@compiled
def word(seed: int, purpose: int, node: int, counter: int) -> int:
    """64 random bits, uint64."""
    x = _mix(uint64(seed) + _GOLDEN * uint64(purpose + 1))
    x = _mix(x ^ (uint64(node) * _GOLDEN + _GOLDEN))
    return _mix(x ^ (uint64(counter) * _SECOND + _FIRST))


@compiled
def uniform(seed: int, purpose: int, node: int, counter: int) -> float:
    """Draw from the open interval (0, 1), 52 bits."""
    return (float(word(seed, purpose, node, counter) >> uint64(12)) + 0.5) * 2.220446049250313e-16


@compiled
def below(seed: int, purpose: int, node: int, counter: int, n: int) -> int:
    """Draw uniformly from 0 … n − 1, n below 2**32."""
    return int64(((word(seed, purpose, node, counter) >> uint64(32)) * uint64(n)) >> uint64(32))


@compiled
def lognormal(u: float, median: float, sigma: float) -> float:
    """Lognormal quantile at ``u``: median · exp(σ z)."""
    return median * exact_exp(sigma * normal_quantile(u))


@compiled
def weibull(u: float, scale: float, shape: float) -> float:
    """Weibull quantile at ``u``: scale · (−ln(1 − u))^(1/shape)."""
    return scale * exact_exp(exact_log(-exact_log(1.0 - u)) / shape)
