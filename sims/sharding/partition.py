"""Partitions of a network's nodes into shards of equal size, with few links between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from gossipfl.extras import require_extra
from sims.errors import InvalidScenario
from sims.world.networks import NeighbourLists, RoundNetwork

__all__ = ["Partition", "divided", "pattern_of_lists", "pattern_of_rounds"]

Ints = NDArray[np.int64]
_ROUNDS = 16  # of a sequence without end, whose links are counted


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Partition:
    """Shards of a network.

    Parameters
    ----------
    shard : ndarray
        The shard of each node, int64 ``[N]``.
    shards : int
    cut : int
        Links between shards, each direction counted; in sequences, of all rounds that were looked at.
    links : int
        Links in all, counted alike.
    """

    shard: Ints
    shards: int
    cut: int
    links: int

    def members(self, shard: int) -> Ints:
        """Numbers of a shard's nodes, increasing."""
        return np.flatnonzero(self.shard == shard)


def divided(n: int, shards: int, pattern: csr_array | None) -> Partition:
    """Divide nodes into shards: by METIS where there are links to cut, else in the order of their numbers.

    Parameters
    ----------
    n : int
        Number of nodes.
    shards : int
    pattern : csr_array, optional
        How many messages go from column to row, ``[N, N]``; None where everybody hears everybody.

    Raises
    ------
    InvalidScenario
        If there are not as many nodes as shards.
    SettingError
        If METIS is not installed.

    References
    ----------
    Karypis & Kumar, "A fast and high quality multilevel scheme for partitioning irregular graphs", SIAM J.
    Scientific Computing 20, 1998.
    """
    if not 1 <= shards <= n:
        raise InvalidScenario("every shard needs at least one node", expected=f"1 … {n} shards", got=shards)
    in_order = np.arange(n) * shards // n
    if pattern is None or shards == 1 or not pattern.nnz:
        everybody = n * (n - 1) if pattern is None else pattern.nnz
        sizes = np.bincount(in_order)
        cut = int(n * n - (sizes**2).sum()) if pattern is None else 0
        return Partition(shard=in_order, shards=shards, cut=cut, links=everybody)
    found = _by_metis(pattern, shards)
    if np.bincount(found, minlength=shards).min() == 0 or _cut(pattern, found) > _cut(pattern, in_order):
        found = in_order
    return Partition(shard=found, shards=shards, cut=_cut(pattern, found), links=int(pattern.data.sum()))


def pattern_of_rounds(network: RoundNetwork) -> csr_array | None:
    """How many messages go from column to row in the rounds of a period, ``[N, N]``; None where all hear all."""
    if network.complete:
        return None
    sequence = network.sequence
    total = csr_array((sequence.n, sequence.n), dtype=np.int64)
    for number in range(min(sequence.period or _ROUNDS, _ROUNDS)):
        matrix = sequence.matrix(number)
        links = csr_array((np.ones(matrix.nnz, np.int64), matrix.indices, matrix.indptr), shape=matrix.shape)
        total = total + links
    if network.cliques is not None:
        cliques = network.cliques
        members = csr_array((np.ones(len(cliques), np.int64), (np.arange(len(cliques)), cliques)))
        total = total + members @ members.T
    return _without_diagonal(csr_array(total))


def pattern_of_lists(n: int, lists: NeighbourLists) -> csr_array | None:
    """The neighbours of each node, ``[N, N]``; None where all are neighbours of all."""
    indptr, indices = lists
    if not len(indptr):
        return None
    return csr_array((np.ones(len(indices), dtype=np.int64), indices, indptr), shape=(n, n))


def _without_diagonal(matrix: csr_array) -> csr_array:
    found = matrix.tocoo()
    rows, columns = found.coords
    apart = rows != columns
    return csr_array((found.data[apart], (rows[apart], columns[apart])), shape=matrix.shape)


def _by_metis(pattern: csr_array, shards: int) -> Ints:
    require_extra("ray", ["pymetis"], what="dividing a network into shards")
    import pymetis

    both = csr_array(pattern + pattern.T)
    _, found = pymetis.part_graph(
        shards,
        pymetis.CSRAdjacency(both.indptr.astype(np.int64), both.indices.astype(np.int64)),
        eweights=both.data.astype(np.int64),
        options=pymetis.Options(seed=1, ufactor=1 if shards <= 8 else 10),
    )
    return np.asarray(found, dtype=np.int64)


def _cut(pattern: csr_array, shard: Ints) -> int:
    receivers = np.repeat(shard, np.diff(pattern.indptr))
    return int(pattern.data[receivers != shard[pattern.indices]].sum())
