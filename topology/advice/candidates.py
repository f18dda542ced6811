"""Candidate topologies for a number of nodes and a degree budget, as expressions."""

from __future__ import annotations

from math import ceil, isqrt, log2

__all__ = ["candidate_expressions"]

# Of families with a degree to choose, these are tried: between them little changes.
_DEGREES = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 24, 32)


def candidate_expressions(n: int, degree_budget: int, seed: int = 0, *, hostile: int = 0) -> list[str]:
    """Expressions of all families that exist for `n` nodes at no more than `degree_budget` messages a round.

    Parameters
    ----------
    n : int
        Nodes, at least 2.
    degree_budget : int
        Models a node may send in a round; families with a free degree are tried at several values up to 32.
    seed : int
        For the random ones.
    hostile : int
        If above 0, undirected graphs that stay alone, of which it is known how many hostile ones can be survived.
        A node of them has more than twice as many neighbours, or, where all are neighbours, at least that many.
    """
    if hostile:
        return _robust(n, min(degree_budget, n - 1), seed, hostile=hostile)
    budget = min(degree_budget, n - 1)
    sparse = min(budget, _DEGREES[-1])
    degrees = sorted({sparse, *(degree for degree in _DEGREES if degree <= sparse)})
    hops = max(ceil(log2(n)), 1)
    found = ["one-peer-exponential:{n}", "random-matching:{n},seed={seed}", "equi-dynamic:{n},seed={seed}"]
    found += [f"base:{{n}},k={k}" for k in degrees]
    # With s = 1 it is random matching.
    found += [f"epidemic:{{n}},s={s},seed={{seed}}" for s in degrees if s > 1 and n * s % 2 == 0]
    found += [f"k-peer-exponential:{{n}},k={k}" for k in degrees if k > 1]
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


def _robust(n: int, budget: int, seed: int, *, hostile: int) -> list[str]:
    """The largest eigenvalue gap is that of random graphs, and of the complete one.

    μ₂ is n of the complete graph, and of no other more than the smallest degree (Fiedler 1973).
    """
    least = 2 * hostile + 1
    steps = {*_DEGREES, *range(least, 2 * least), budget}
    degrees = sorted(d for d in steps if max(3, least) <= d <= budget and d < n - 1 and n * d % 2 == 0)
    regular = [f"random-regular:{n},degree={degree},seed={seed}" for degree in degrees]
    return regular + ([f"complete:{n}"] if budget == n - 1 >= 2 * hostile else [])
