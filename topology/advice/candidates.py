"""The topologies worth considering for a number of nodes and a degree budget, as expressions."""

from __future__ import annotations

from math import ceil, isqrt, log2

__all__ = ["candidate_expressions"]

_LARGEST_DEGREE = 32


def candidate_expressions(n: int, degree_budget: int, seed: int = 0) -> list[str]:
    """Expressions of all families that exist for `n` nodes at no more than `degree_budget` messages a round.

    Parameters
    ----------
    n : int
        Nodes, at least 2.
    degree_budget : int
        Models a node may send in a round; those of sparse families are tried up to 32.
    seed : int
        For the random ones.
    """
    budget = min(degree_budget, n - 1)
    sparse = min(budget, _LARGEST_DEGREE)
    hops = max(ceil(log2(n)), 1)
    found = ["one-peer-exponential:{n}", "random-matching:{n},seed={seed}", "equi-dynamic:{n},seed={seed}"]
    found += [f"base:{{n}},k={k}" for k in range(1, sparse + 1)]
    found += [f"epidemic:{{n}},s={s},seed={{seed}}" for s in range(1, sparse + 1) if n * s % 2 == 0]
    found += [f"k-peer-exponential:{{n}},k={k}" for k in range(2, sparse + 1)]
    if budget >= 2:
        found.append("ring:{n}")
    sides = next((a for a in range(isqrt(n), 2, -1) if n % a == 0), None)
    if sides is not None and budget >= 4:
        found.append(f"torus:{sides}x{n // sides}")
    if 2**hops == n and 3 <= hops <= budget:
        found.append(f"hypercube:{hops}")
    if n > 3 and hops <= budget:
        found.append("exponential:{n}")
    degree = sparse - (n * sparse % 2)
    if 3 <= degree < n - 1:
        found.append(f"random-regular:{{n}},degree={degree},seed={{seed}}")
    if budget == n - 1:
        found += ["complete:{n}", *(["star:{n}"] if n > 2 else [])]
    return [expression.format(n=n, seed=seed) for expression in found]
