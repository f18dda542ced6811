"""Base-(k+1) graphs: exact consensus for every number of nodes, with at most k neighbours a round."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
from scipy.sparse import csr_array

from topology.bounds import Positive, check_at_least
from topology.graphs.topology import FloatArray, IntArray
from topology.sequences.grids import cliques_at_stride, fewest_factors, hyper_hypercube
from topology.sequences.sequence import RuleSequence, entries_of_groups, from_entries

__all__ = ["base", "simple_base"]


def base(n: Positive, k: Positive) -> RuleSequence:
    """Return the Base-(k+1) graph: exact consensus for every n, with at most k neighbours a round.

    Parameters
    ----------
    n : int
        Number of nodes, at least 1.
    k : int
        Most neighbours in a round, at least 1.

    Returns
    -------
    RuleSequence
        Symmetric, doubly stochastic, degree ≤ k; the product over a period is J, and the period is at most
        2 log_{k+1}(n) + 2.

    Raises
    ------
    InvalidParameter
        If `n` or `k` is below 1.

    Notes
    -----
    With n = p·q, where p has only prime factors up to k + 1 and q none of them, p groups of q nodes each run
    `simple_base`, then the hyper-hypercube over p runs across the groups. Where `simple_base` on all n nodes
    is shorter, it is used instead.

    References
    ----------
    Takezawa, Sato, Bao, Niwa and Yamada, "Beyond exponential graph: Communication-efficient topologies for
    decentralized learning via finite-time convergence", NeurIPS 2023, Algorithm 3 and Theorem 1.

    Examples
    --------
    >>> from topology import sequences
    >>> [sequences.base(25, k).period for k in (1, 2, 3, 4)]
    [9, 6, 5, 2]
    """
    n, k = check_at_least("n", n, 1), check_at_least("k", k, 1)
    name = f"base({n}, {k})"
    p, q = _smooth_part(n, k + 1)
    if q == 1:
        return replace(hyper_hypercube(n, k), name=name)
    inner, outer = _SimpleBase(q, k), fewest_factors(p, k + 1) or ()
    alone = _SimpleBase(n, k)
    if alone.period <= inner.period + len(outer):
        return _from_plan(alone, 1, (), name)
    return _from_plan(inner, p, outer, name)


def simple_base(n: Positive, k: Positive) -> RuleSequence:
    """Return the Simple Base-(k+1) graph: exact consensus for every n, with at most k neighbours a round.

    Parameters
    ----------
    n : int
        Number of nodes, at least 1.
    k : int
        Most neighbours in a round, at least 1.

    Returns
    -------
    RuleSequence
        Symmetric, doubly stochastic, degree ≤ k; the product over a period is J.

    Raises
    ------
    InvalidParameter
        If `n` or `k` is below 1.

    References
    ----------
    Takezawa et al., "Beyond exponential graph", NeurIPS 2023, Algorithm 2.
    """
    n, k = check_at_least("n", n, 1), check_at_least("k", k, 1)
    return _from_plan(_SimpleBase(n, k), 1, (), f"simple_base({n}, {k})")


def _smooth_part(n: int, largest: int) -> tuple[int, int]:
    p, q = 1, n
    for f in range(2, largest + 1):
        while q % f == 0:
            p, q = p * f, q // f
    return p, q


def _from_plan(plan: _SimpleBase, copies: int, across: tuple[int, ...], name: str) -> RuleSequence:
    n = plan.n * copies
    degrees = [plan.degree(t) for t in range(plan.period)] + [f - 1 for f in across]
    return RuleSequence(
        name=name,
        n=n,
        period=max(len(degrees), 1),
        degree=max(degrees, default=0),
        symmetric=True,
        make=partial(_matrix, plan, copies, across),
    )


def _matrix(plan: _SimpleBase, copies: int, across: tuple[int, ...], t: int) -> csr_array:
    q, n = plan.n, plan.n * copies
    if t >= plan.period + len(across):
        return from_entries(n, [], [], [])
    if t < plan.period:
        rows, columns, weights = plan.entries(t)
        shift = np.repeat(np.arange(copies) * q, len(rows))
        return from_entries(
            n, np.tile(rows, copies) + shift, np.tile(columns, copies) + shift, np.tile(weights, copies)
        )
    m = t - plan.period
    stride = q
    for f in across[:m]:
        stride *= f
    return from_entries(n, *entries_of_groups([cliques_at_stride(0, n, across[m], stride)]))


_Entries = tuple[IntArray, IntArray, FloatArray]


@dataclass(frozen=True)
class _Block:
    """Nodes ``start … start + parts·width - 1`` in `parts` runs of ``width = (k+1)^power`` nodes."""

    start: int
    parts: int
    width: int
    power: int

    @property
    def size(self) -> int:
        return self.parts * self.width


@dataclass(frozen=True)
class _SimpleBase:
    """Algorithm 2, round by round, as off-diagonal entries."""

    n: int
    k: int

    @cached_property
    def blocks(self) -> tuple[_Block, ...]:
        """Digits of n to base k + 1, highest first, as blocks of nodes."""
        powers = [0]
        while (self.k + 1) ** (powers[-1] + 1) <= self.n:
            powers.append(powers[-1] + 1)
        blocks, start = [], 0
        for power in reversed(powers):
            width = (self.k + 1) ** power
            parts = (self.n - start) // width
            if parts:
                blocks.append(_Block(start, parts, width, power))
                start += parts * width
        return tuple(blocks)

    @cached_property
    def warm_up(self) -> int:
        """Rounds until every block agrees within itself."""
        first = self.blocks[0]
        return first.power + (first.parts > 1)

    @cached_property
    def period(self) -> int:
        """Rounds to exact consensus."""
        if len(self.blocks) == 1:
            return self.warm_up
        return self.warm_up + 1 + self.blocks[0].power

    def degree(self, t: int) -> int:
        """Most neighbours of a node in round t."""
        rows = self.entries(t)[0]
        return int(np.bincount(rows).max()) if len(rows) else 0

    def entries(self, t: int) -> _Entries:
        """Off-diagonal entries of round t."""
        if t < self.warm_up:
            groups = [self._cliques(block, t, inside_parts=False) for block in self.blocks]
            return entries_of_groups([g for g in groups if g is not None])
        current = t - self.warm_up
        finished = self.blocks[: min(current, len(self.blocks))]
        groups = [
            self._cliques(block, current - 1 - order, inside_parts=True)
            for order, block in enumerate(finished)
        ]
        kept = [g for g in groups if g is not None]
        if current >= len(self.blocks) - 1:
            return entries_of_groups(kept)
        linked, spare = self._link(current)
        inside = entries_of_groups(kept + spare)
        rows, columns, weights = (np.concatenate(parts) for parts in zip(inside, linked, strict=True))
        return rows, columns, weights

    def _cliques(self, block: _Block, step: int, *, inside_parts: bool) -> IntArray | None:
        """Cliques of step `step` of the block's hyper-hypercube, repeated when it is through."""
        factors = [self.k + 1] * block.power
        if not inside_parts and block.parts > 1:
            factors.append(block.parts)
        if not factors:
            return None
        m = step % len(factors)
        return cliques_at_stride(block.start, block.size, factors[m], (self.k + 1) ** m)

    def _link(self, current: int) -> tuple[_Entries, list[IntArray]]:
        """Link every node of later blocks to one node in each part of the current one."""
        block = self.blocks[current]
        later = np.arange(block.start + block.size, self.n)
        remaining = self.n - block.start
        weight = block.size / (block.parts * remaining)
        partners = block.start + np.arange(block.parts)[:, None] * block.width + np.arange(len(later))
        here = np.tile(later, block.parts)
        there = partners.ravel()
        linked = (
            np.concatenate((here, there)),
            np.concatenate((there, here)),
            np.full(2 * len(here), weight),
        )
        # What is left of the block already agrees; averaging it keeps everybody's links in use.
        spare = [
            members
            for part in range(block.parts)
            for members in _in_groups(
                np.arange(
                    block.start + part * block.width + len(later), block.start + (part + 1) * block.width
                ),
                self.k + 1,
            )
        ]
        return linked, spare


def _in_groups(nodes: IntArray, size: int) -> list[IntArray]:
    whole = len(nodes) // size * size
    rest = nodes[whole:]
    groups = [nodes[:whole].reshape(-1, size)]
    return [*groups, rest.reshape(1, -1)] if len(rest) else groups
