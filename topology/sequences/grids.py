"""Averaging along the axes of a grid: exact in as many rounds as the grid has dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from math import prod

import numpy as np
from scipy.sparse import csr_array

from topology.bounds import Positive, check_at_least
from topology.errors import InvalidParameter
from topology.graphs.topology import IntArray
from topology.sequences.sequence import Row, RuleSequence, from_groups

__all__ = ["cliques_at_stride", "fewest_factors", "hyper_hypercube", "moshpit"]


def hyper_hypercube(n: Positive, k: Positive) -> RuleSequence:
    """Return the hyper-hypercube: exact consensus for every n whose prime factors are at most k + 1.

    Write n as a product of as few factors f ≤ k + 1 as possible; round m joins cliques of f_m nodes whose
    numbers differ in digit m.

    Parameters
    ----------
    n : int
        Number of nodes, at least 1.
    k : int
        Most neighbours in a round, at least 1.

    Returns
    -------
    RuleSequence
        Symmetric, degree ≤ k; the product over a period is J.

    Raises
    ------
    InvalidParameter
        If n has a prime factor above k + 1.

    References
    ----------
    Takezawa et al., "Beyond exponential graph", NeurIPS 2023, Algorithm 1.

    Examples
    --------
    >>> from topology import sequences
    >>> sequences.hyper_hypercube(24, 3).period
    3
    """
    n, k = check_at_least("n", n, 1), check_at_least("k", k, 1)
    factors = fewest_factors(n, k + 1)
    if factors is None:
        raise InvalidParameter(
            f"{n} has a prime factor above k + 1 = {k + 1}",
            expected=f"a product of numbers up to {k + 1}",
            got=n,
            remedy=f"Use base({n}, {k}), which is exact for every n, or raise k",
        )
    return _along_axes(n, factors, f"hyper_hypercube({n}, {k})")


def moshpit(shape: Sequence[Positive]) -> RuleSequence:
    """Return Moshpit averaging on a full grid: round t averages along axis t.

    Parameters
    ----------
    shape : sequence of int
        Length of each axis; n is their product. Node numbers are row-major.

    Returns
    -------
    RuleSequence
        Symmetric, degree max(shape) − 1, period len(shape); the product over a period is J.

    Raises
    ------
    InvalidParameter
        If the shape is empty or a length is below 1.

    References
    ----------
    Ryabinin, Gorbunov, Plokhotnyuk and Pekhimenko, "Moshpit SGD: Communication-efficient decentralized
    training on heterogeneous unreliable devices", NeurIPS 2021, Algorithm 1 with every peer present.
    """
    lengths = [check_at_least("every length of shape", length, 1) for length in shape]
    if not lengths:
        raise InvalidParameter(
            "shape is empty", expected="at least one length", got=shape, remedy="Pass e.g. shape=(5, 5)"
        )
    n = prod(lengths)
    strides = [prod(lengths[axis + 1 :]) for axis in range(len(lengths))]
    return _cliques_in_turn(n, tuple(lengths), tuple(strides), f"moshpit({'×'.join(map(str, lengths))})")


def _along_axes(n: int, factors: tuple[int, ...], name: str) -> RuleSequence:
    factors = factors or (1,)
    strides = tuple(prod(factors[:m]) for m in range(len(factors)))
    return _cliques_in_turn(n, factors, strides, name)


def _cliques_in_turn(n: int, sizes: tuple[int, ...], strides: tuple[int, ...], name: str) -> RuleSequence:
    return RuleSequence(
        name=name,
        n=n,
        period=len(sizes),
        degree=max(sizes) - 1,
        symmetric=True,
        make=partial(_clique_matrix, n, sizes, strides),
        row_rule=partial(_clique_row, sizes, strides),
    )


def cliques_at_stride(start: int, n: int, size: int, stride: int) -> IntArray:
    """Return the cliques of nodes ``start … start+n-1`` whose digit at `stride` varies, [n/size, size]."""
    blocks = np.arange(n).reshape(n // (size * stride), size, stride)
    groups: IntArray = blocks.swapaxes(1, 2).reshape(-1, size) + start
    return groups


def _clique_matrix(n: int, sizes: tuple[int, ...], strides: tuple[int, ...], t: int) -> csr_array:
    return from_groups(n, [cliques_at_stride(0, n, sizes[t], strides[t])])


def _clique_row(sizes: tuple[int, ...], strides: tuple[int, ...], t: int, i: int) -> Row:
    size, stride = sizes[t], strides[t]
    first = i - i // stride % size * stride
    return np.arange(first, first + size * stride, stride), np.full(size, 1.0 / size)


def fewest_factors(n: int, largest: int) -> tuple[int, ...] | None:
    """Return the fewest factors of `n`, none above `largest`, largest first; None if there are none."""
    divisors = [f for f in range(min(largest, n), 1, -1) if n % f == 0]

    @cache
    def best(rest: int) -> tuple[int, ...] | None:
        if rest == 1:
            return ()
        found: tuple[int, ...] | None = None
        for f in divisors:
            if rest % f == 0:
                tail = best(rest // f)
                if tail is not None and (found is None or 1 + len(tail) < len(found)):
                    found = (f, *tail)
        return found

    found = best(n)
    return None if found is None else tuple(sorted(found, reverse=True))
