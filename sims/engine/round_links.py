"""The links of a round: its mixing matrix, neighbours and weighted sums, for the nodes whose rows are here."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from gossipfl.algorithms import Links
from sims.clock.outcome import MissingRows
from sims.engine.allocator import Spare
from sims.engine.mixing import Mixing
from sims.engine.neighbourhoods import Complete, Sparse
from sims.engine.part import Part, Surroundings
from sims.engine.workers import Workers
from topology.sequences import MixingSequence

__all__ = ["RoundLinks"]

Ints = NDArray[np.int64]


class RoundLinks:
    """Links between nodes, one round after another.

    Parameters
    ----------
    sequence : MixingSequence
        One mixing matrix a round.
    cliques : ndarray or None
        The clique of each node, int64 ``[N]``.
    complete : bool
        Whether all matrices are J.
    pushes : bool
        Whether senders keep the mass of rows that do not arrive (push-sum); else receivers make up for it.
    part : Part
        The nodes whose rows are here, B of N.
    workers : Workers
        Threads that share sums.
    device : torch.device

    Attributes
    ----------
    numbers : Tensor
        Numbers of the nodes that are here, int64 ``[B]``.
    cliques : Tensor or None
        Cliques of all, int64 ``[N]``.
    messages : int
        Rows that the nodes here hear in an exchange of this round, if all arrive.
    """

    def __init__(
        self,
        sequence: MixingSequence,
        *,
        cliques: Ints | None,
        complete: bool,
        pushes: bool,
        part: Part,
        workers: Workers,
        device: torch.device,
    ) -> None:
        self._sequence, self._part, self._workers, self._device = sequence, part, workers, device
        self._pushes, self.complete = pushes, complete
        self.numbers = torch.from_numpy(part.numbers).to(device)
        self.cliques = None if cliques is None else torch.from_numpy(cliques.astype(np.int64)).to(device)
        self.messages = 0
        self._round = 0
        self._matrix: csr_array | None = None
        self._near: Surroundings | None = None
        self._mixing: Mixing | None = None
        self._ends: tuple[Links, Surroundings] | None = None
        self._lists: Sparse | None = None
        self._complete: Complete | None = None
        self._together: csr_array | None = None
        self._spare = Spare()

    def begin(self, number: int) -> None:
        """Turn to a round, counted from 0."""
        self._round = number
        if self.complete:
            self.messages = len(self.numbers) * (self._sequence.n - 1)
            return
        matrix = self._sequence.matrix(number)
        if matrix is self._matrix:
            return
        self._matrix, self._near = matrix, self._part.around(matrix)
        self._mixing = self._ends = self._lists = None
        mine = self._near.matrix
        owners = np.repeat(np.arange(mine.shape[0]), np.diff(mine.indptr))
        self.messages = int(((owners != mine.indices) & (mine.data != 0)).sum())

    @property
    def identity(self) -> object:
        """The same object as long as the links are the same."""
        return self if self.complete else self._matrix

    def matrix(self) -> csr_array:
        """The round's mixing matrix, ``[N, N]``."""
        return self._sequence.matrix(self._round)

    def without(self, missing: MissingRows, *, of: csr_array | None = None) -> csr_array:
        """The round's matrix, or another one, without some rows, whose weights go to those who lack them.

        In push-sum they go back to those who sent them: the mass stays where it is.
        """
        matrix = (self.matrix() if of is None else of).tolil()
        pairs = {*zip(missing.receivers.tolist(), missing.senders.tolist(), strict=True)}
        for receiver, sender in sorted(pairs):
            keeper = sender if self._pushes else receiver
            matrix[keeper, keeper] += matrix[receiver, sender]
            matrix[receiver, sender] = 0.0
        found = matrix.tocsr()
        found.eliminate_zeros()
        return csr_array(found)

    def mixed(self, rows: Tensor, without: csr_array | None = None) -> Tensor:
        """Σ_j w_ij x_j of rows ``[B, D]``, by the round's matrix or by one `without` some of it."""
        if without is not None:
            near = self._part.around(without)
            return self._sums(near.matrix)(near.reach(rows))
        if self.complete:
            return self.means(rows)
        assert self._near is not None  # noqa: S101 - a round has begun
        if self._mixing is None:
            self._mixing = self._sums(self._near.matrix)
        return self._mixing(self._near.reach(rows))

    def _sums(self, matrix: csr_array) -> Mixing:
        return Mixing(matrix, device=self._device, workers=self._workers, spare=self._spare)

    def means(self, rows: Tensor) -> Tensor:
        """The mean of all nodes' rows, as often as there are rows here."""
        return self._part.mean(rows).expand_as(rows).contiguous()

    def clique_means(self, rows: Tensor) -> Tensor:
        """The mean of each node's clique, of rows ``[B, D]``."""
        assert self.cliques is not None  # noqa: S101 - requirements have been checked
        members, own = torch.bincount(self.cliques), self.cliques.index_select(0, self.numbers)
        sums = rows.new_zeros(len(members), rows.shape[1])
        near = self._part.around(self.together())
        order = torch.from_numpy(np.argsort(near.numbers)).to(self._device)
        cliques = self.cliques.index_select(0, torch.from_numpy(near.numbers).to(self._device))
        reached = near.reach(rows)
        sums.index_add_(0, cliques[order], reached.index_select(0, order))
        return (sums / members[:, None]).index_select(0, own)

    def together(self) -> csr_array:
        """The matrix of means within cliques."""
        if self._together is None:
            assert self.cliques is not None  # noqa: S101 - requirements have been checked
            cliques = self.cliques.cpu().numpy()
            members = csr_array((np.ones(len(cliques)), (np.arange(len(cliques)), cliques)))
            together = csr_array(members @ members.T)
            together.sort_indices()
            together.data /= np.repeat(np.bincount(cliques)[cliques], np.diff(together.indptr))
            self._together = together
        return self._together

    def neighbours(
        self, without: csr_array | None = None
    ) -> tuple[Sparse | Complete, Callable[[Tensor], Tensor]]:
        """Neighbours in the round, or by a matrix `without` some, and the way from rows here to all of theirs."""
        if without is not None:
            near = self._part.around(without)
            return Sparse(near.matrix, near.numbers), near.reach
        if self._near is None:
            return self._everybody()
        return self._sparse(self._near), self._near.reach

    def degrees(self, without: csr_array | None = None) -> Ints:
        """How many neighbours each node of the whole network has, int64 ``[N]``."""
        if without is None and self.complete:
            return np.full(self._sequence.n, self._sequence.n - 1)
        return Sparse(self.matrix() if without is None else without).degrees

    def _everybody(self) -> tuple[Complete, Callable[[Tensor], Tensor]]:
        if self._complete is None:
            self._complete = Complete(self._sequence.n, self._part.numbers)
        if len(self.numbers) == self._sequence.n:
            return self._complete, lambda rows: rows
        order = torch.from_numpy(self._complete.numbers).to(self._device)
        return self._complete, lambda rows: self._part.everybody(rows).index_select(0, order)

    def _sparse(self, near: Surroundings) -> Sparse:
        if self._lists is None:
            self._lists = Sparse(near.matrix, near.numbers)
        return self._lists

    def ends(self) -> tuple[Links, Surroundings]:
        """Ends of links, and for each the other end of the same link, as a permutation.

        The round's matrix has an entry at (j, i) wherever it has one at (i, j).
        """
        if self._ends is None:
            lists = self._sparse(self._near or self._part.around(self.matrix()))
            every = Sparse(self.matrix())
            owners = np.repeat(np.arange(self._sequence.n), every.degrees)
            # Sorted by (neighbour, owner), the k-th end is the other end of the k-th by (owner, neighbour).
            others, places = np.lexsort((owners, every.neighbours)), np.arange(len(owners) + 1)
            permutation = csr_array((np.ones(len(others)), others, places), shape=(len(others), len(others)))
            owner, neighbours, weights = (
                torch.from_numpy(each).to(self._device)
                for each in (
                    np.repeat(np.arange(len(self.numbers)), lists.degrees),
                    lists.numbers[lists.neighbours],
                    lists.weights,
                )
            )
            links = Links(owner=owner, neighbours=neighbours, weights=weights)
            self._ends = links, self._part.around(permutation, owners=owners)
        return self._ends
