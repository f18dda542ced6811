"""The mixing sequence: one mixing matrix a round, and each node's row of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from topology.errors import InvalidParameter, UnknownNode
from topology.graphs.topology import FloatArray, IntArray
from topology.mixing.checks import Stochastic

__all__ = ["MixingSequence", "Row", "RuleSequence", "entries_of_groups", "from_entries", "from_groups"]

Row: TypeAlias = tuple[IntArray, FloatArray]
"""The nodes a node averages, itself among them, in increasing order, and their weights."""

_KEPT_ENTRIES = 4_000_000


@runtime_checkable
class MixingSequence(Protocol):
    """A mixing matrix for every round t = 0, 1, 2, …; X ← ``matrix(t)`` @ X is round t.

    Examples
    --------
    >>> from topology import sequences
    >>> one_peer = sequences.one_peer_exponential(8)
    >>> one_peer.n, one_peer.period
    (8, 3)
    """

    @property
    def name(self) -> str:
        """The name of the sequence, e.g. ``base(25, 1)``."""

    @property
    def n(self) -> int:
        """Number of nodes."""

    @property
    def period(self) -> int | None:
        """Rounds after which the matrices repeat; None when they are drawn at random."""

    @property
    def degree(self) -> int:
        """The most nodes that any node sends to in a round."""

    @property
    def stochastic(self) -> Stochastic:
        """The sums of every matrix that are one: of rows and columns (``"doubly"``), or of rows only."""

    @property
    def symmetric(self) -> bool:
        """Whether every matrix is symmetric, so that all links go both ways."""

    @property
    def expected_contraction(self) -> float | None:
        """Exact ``E‖Wx − x̄‖² / ‖x − x̄‖²`` of a round, if known and the same for all x."""

    def matrix(self, t: int) -> csr_array:
        """Return the mixing matrix of round `t`, float64 [n, n]; row i is what node i averages."""

    def neighbours(self, t: int, i: int) -> IntArray:
        """Return the nodes that `i` hears from in round `t`, in increasing order, without `i`."""

    def recipients(self, t: int, i: int) -> IntArray:
        """Return the nodes that `i` sends to in round `t`, in increasing order, without `i`."""

    def row(self, t: int, i: int) -> Row:
        """Return what `i` averages in round `t`: nodes (itself among them) and weights."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class RuleSequence:
    """A `MixingSequence` given by a rule for whole matrices and, optionally, one for single nodes.

    Parameters
    ----------
    name, n, period, degree, stochastic, symmetric, expected_contraction
        As in `MixingSequence`.
    make : callable
        ``make(t)`` is the matrix of round t; called with t below `period` if there is one.
    row_rule : callable, optional
        ``row_rule(t, i)`` is row i of ``make(t)`` in time that does not grow with n. Without it the row is
        cut from the matrix.
    recipients_rule : callable, optional
        The same for the nodes that i sends to. Not needed when all matrices are symmetric.
    """

    name: str
    n: int
    period: int | None
    degree: int
    make: Callable[[int], csr_array]
    stochastic: Stochastic = "doubly"
    symmetric: bool = False
    expected_contraction: float | None = None
    row_rule: Callable[[int, int], Row] | None = None
    recipients_rule: Callable[[int, int], IntArray] | None = None
    _kept: dict[int, csr_array] = field(default_factory=dict, init=False)

    def __repr__(self) -> str:
        span = "random" if self.period is None else f"period {self.period}"
        return f"<MixingSequence {self.name}: {self.n:,} nodes, degree {self.degree}, {span}>"

    def matrix(self, t: int) -> csr_array:
        """Return the mixing matrix of round `t`, float64 [n, n]; row i is what node i averages.

        Raises
        ------
        InvalidParameter
            If `t` is negative.
        """
        t = self._round(t)
        if t in self._kept:
            return self._kept[t]
        W = self.make(t)
        for array in (W.data, W.indices, W.indptr):
            array.setflags(write=False)
        if self.period is None:
            self._kept.clear()
        if (self.period or 1) * (self.degree + 1) * self.n <= _KEPT_ENTRIES:
            self._kept[t] = W
        return W

    def row(self, t: int, i: int) -> Row:
        """Return what `i` averages in round `t`: nodes (itself among them) in increasing order, and weights.

        Raises
        ------
        InvalidParameter
            If `t` is negative.
        UnknownNode
            If there is no node `i`.
        """
        self._check_node(i)
        if self.row_rule is not None:
            return self.row_rule(self._round(t), i)
        W = self.matrix(t)
        entries = slice(int(W.indptr[i]), int(W.indptr[i + 1]))
        return W.indices[entries], W.data[entries]

    def neighbours(self, t: int, i: int) -> IntArray:
        """Return the nodes that `i` hears from in round `t`, in increasing order, without `i`.

        Raises
        ------
        InvalidParameter
            If `t` is negative.
        UnknownNode
            If there is no node `i`.
        """
        nodes, weights = self.row(t, i)
        heard: IntArray = nodes[(nodes != i) & (weights != 0)]
        return heard

    def recipients(self, t: int, i: int) -> IntArray:
        """Return the nodes that `i` sends to in round `t`, in increasing order, without `i`.

        Raises
        ------
        InvalidParameter
            If `t` is negative.
        UnknownNode
            If there is no node `i`.
        """
        if self.symmetric:
            return self.neighbours(t, i)
        self._check_node(i)
        if self.recipients_rule is not None:
            return self.recipients_rule(self._round(t), i)
        W = self.matrix(t)
        entries = np.flatnonzero((W.indices == i) & (W.data != 0))
        nodes: IntArray = np.searchsorted(W.indptr, entries, side="right") - 1
        sent: IntArray = nodes[nodes != i]
        return sent

    def _round(self, t: int) -> int:
        if t < 0:
            raise InvalidParameter(
                "the round is negative", expected="t of at least 0", got=t, remedy="Count rounds from 0"
            )
        return t if self.period is None else t % self.period

    def _check_node(self, i: int) -> None:
        if not 0 <= i < self.n:
            raise UnknownNode(
                f"{self.name} has no node {i}",
                expected=f"0 … {self.n - 1}",
                got=i,
                remedy="Number nodes from 0",
            )


def from_entries(n: int, rows: npt.ArrayLike, columns: npt.ArrayLike, weights: npt.ArrayLike) -> csr_array:
    """Return the matrix with the given off-diagonal entries, and on the diagonal what rows lack to sum to 1.

    Entries at one place are added; the diagonal is stored even where it is zero only if it is not needed.
    """
    rows, columns = np.asarray(rows, dtype=np.int64), np.asarray(columns, dtype=np.int64)
    values = np.broadcast_to(np.asarray(weights, dtype=np.float64), rows.shape)
    diagonal = 1.0 - np.bincount(rows, weights=values, minlength=n)
    diagonal[np.abs(diagonal) < 1e-15] = 0.0
    here = np.flatnonzero(diagonal)
    W = csr_array(
        (
            np.concatenate((values, diagonal[here])),
            (np.concatenate((rows, here)), np.concatenate((columns, here))),
        ),
        shape=(n, n),
    )
    W.sort_indices()
    return W


def from_groups(n: int, groups: list[IntArray]) -> csr_array:
    """Return the matrix that averages within groups and leaves all other nodes alone.

    Parameters
    ----------
    n : int
        Number of nodes.
    groups : list of integer arrays, each of shape [number of groups, size]
        Members of each group; no node is in two.
    """
    return from_entries(n, *entries_of_groups(groups))


def entries_of_groups(groups: list[IntArray]) -> tuple[IntArray, IntArray, FloatArray]:
    """Return rows, columns and weights of the off-diagonal entries of averaging within groups."""
    rows, columns, weights = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0)]
    for members in groups:
        size = members.shape[1]
        here, there = np.repeat(members, size, axis=1).ravel(), np.tile(members, (1, size)).ravel()
        keep = here != there
        rows.append(here[keep])
        columns.append(there[keep])
        weights.append(np.full(int(keep.sum()), 1.0 / max(size, 1)))
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(weights)
