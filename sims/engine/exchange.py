"""The exchanges of a round, for all nodes at once, and the count of their traffic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from gossipfl.algorithms import (
    AnyExchange,
    Exchange,
    LinkExchange,
    Links,
    Mixed,
    Neighbourhood,
    NeighbourRows,
)
from gossipfl.codecs import FLOAT32
from gossipfl.codecs.draws import common_key, exchange_keys
from gossipfl.outgoing import IN_FULL, Draws, Pipeline
from sims.clock.outcome import MissingRows
from sims.engine.hostile import HostileNodes, Lies
from sims.engine.masked_sums import MaskedSums
from sims.engine.mixing import Mixing
from sims.engine.neighbourhoods import Complete, Sparse, neighbourhoods
from sims.engine.part import Everybody, Part, Surroundings
from sims.engine.sent import Sent
from sims.engine.workers import Workers
from sims.errors import NotSimulable
from topology.sequences import MixingSequence

__all__ = ["Exchanges"]

Ints = NDArray[np.int64]
_ALL_ARRIVE = MissingRows(receivers=np.zeros(0, dtype=np.int64), senders=np.zeros(0, dtype=np.int64))


class Exchanges:
    """Exchanges of all nodes, one round after another.

    Parameters
    ----------
    sequence : MixingSequence
        One mixing matrix a round.
    cliques : ndarray, optional
        The clique of each node, int64 ``[N]``.
    complete : bool
        Whether all matrices are J.
    seed : int
        Seed of the compressors' draws.
    device : torch.device
    outgoing : Pipeline
        Pipeline applied to outgoing rows; by default they are sent in full.
    hostile : HostileNodes, optional
        Nodes that send other rows than these; what they hear themselves is true.
    masked_sums : MaskedSums, optional
        Sums of which nodes do not see the summands.
    workers : Workers, optional
        Threads that share sums; by default the caller's alone.
    pushes : bool
        Whether senders keep the mass of rows that do not arrive (push-sum); else receivers make up for it.
    part : Part, optional
        The nodes whose rows are here; by default all.

    Attributes
    ----------
    messages, bytes : int
        Sent so far, and the bytes of their payloads.
    """

    def __init__(
        self,
        sequence: MixingSequence,
        *,
        seed: int,
        device: torch.device,
        cliques: Ints | None = None,
        complete: bool = False,
        outgoing: Pipeline = IN_FULL,
        hostile: HostileNodes | None = None,
        masked_sums: MaskedSums | None = None,
        workers: Workers | None = None,
        pushes: bool = False,
        part: Part | None = None,
    ) -> None:
        self._pushes = pushes
        self._part = part or Everybody(sequence.n)
        self.hostile, self.masked_sums = hostile, masked_sums
        self.sequence, self.seed, self.device, self.outgoing = sequence, seed, device, outgoing
        self.messages, self.bytes = 0, 0
        self._numbers = torch.from_numpy(self._part.numbers).to(device)
        self._cliques = None if cliques is None else torch.from_numpy(cliques.astype(np.int64)).to(device)
        self._round = self._exchange = 0
        self._missing: Sequence[MissingRows] = ()
        self._away: Ints | None = None
        self._complete = complete
        self._matrix: csr_array | None = None
        self._near: Surroundings | None = None
        self._mixing: Mixing | None = None
        self._workers = workers or Workers(1)
        self._messages_of_matrix = 0
        self._ends: tuple[Links, Surroundings] | None = None
        self._lists: Sparse | None = None
        self._cliquemates_matrix: csr_array | None = None

    def begin(
        self, number: int, *, missing: Sequence[MissingRows] = (), away: NDArray[np.bool_] | None = None
    ) -> None:
        """Turn to round ``number``, counted from 0.

        Parameters
        ----------
        number : int
        missing : sequence of MissingRows
            For each exchange, the rows that will not arrive; their weight goes to the receiver's own.
        away : ndarray, optional
            Nodes that sit the round out, bool ``[N]``: a server does without them.
        """
        self._away = np.flatnonzero(away) if away is not None and away.any() else None
        self._round, self._exchange, self._missing = number, 0, missing
        if self.hostile is not None:
            self.hostile.begin(number)
        if self._complete:
            self._messages_of_matrix = len(self._numbers) * (self.sequence.n - 1)
            return
        matrix = self.sequence.matrix(number)
        if matrix is self._matrix:
            return
        self._matrix, self._near = matrix, self._part.around(matrix)
        self._mixing = self._ends = self._lists = None
        mine = self._near.matrix
        owners = np.repeat(np.arange(mine.shape[0]), np.diff(mine.indptr))
        self._messages_of_matrix = int(((owners != mine.indices) & (mine.data != 0)).sum())

    def links(self) -> Links:
        """Give the ends of the round's links.

        The round's matrix has an entry at (j, i) wherever it has one at (i, j).
        """
        return self._links_and_others()[0]

    def __call__(self, exchange: AnyExchange) -> Mixed:
        """Carry out one exchange.

        Parameters
        ----------
        exchange : AnyExchange
            Of all N nodes, or all link ends.
        """
        if self.masked_sums is not None:
            mixed = self._masked(exchange, self.masked_sums)
        elif isinstance(exchange, LinkExchange):
            mixed = self._over_links(exchange)
        elif isinstance(exchange, NeighbourRows):
            mixed = self._by_rule(exchange)
        elif exchange.over == "neighbours":
            mixed = self._among_neighbours(exchange)
        elif exchange.over == "clique":
            mixed = self._in_cliques(exchange)
        else:
            mixed = self._by_server(exchange)
        self._exchange += 1
        return mixed

    def _among_neighbours(self, exchange: Exchange) -> Mixed:
        missing = self._gone()
        sent = self._sent(exchange, self._numbers, messages=self._messages_of_matrix - self._unsent(missing))
        without = self._without(missing) if len(missing) else None
        mixed, lies = self._mixed(sent.decoded, without), self._lies(sent, without)
        if lies is None:
            return sent.mixed(mixed)
        lists = self._lists_of_neighbours() if without is None else Sparse(without)
        for around in neighbourhoods(lists, sent.decoded, among=lies.victims):
            told = lies.applied(around, _numbers(lists, around), _weighted_sums)
            if told is not around:
                changes = torch.einsum("bk,bkd->bd", around.weights, told.rows - around.rows)
                mixed.index_add_(0, around.nodes, changes)
        return sent.mixed(mixed)

    def _in_cliques(self, exchange: Exchange) -> Mixed:
        assert self._cliques is not None  # noqa: S101 - requirements have been checked
        members, own = torch.bincount(self._cliques), self._cliques.index_select(0, self._numbers)
        missing = self._gone()
        messages = int((members[own] - 1).sum()) - self._unsent(missing)
        sent = self._sent(exchange, self._numbers, messages=messages)
        if len(missing):
            return sent.mixed(self._mixed(sent.decoded, self._without(missing, of=self._together())))
        sums = sent.decoded.new_zeros(len(members), sent.decoded.shape[1])
        near = self._part.around(self._together())
        order = torch.from_numpy(np.argsort(near.numbers)).to(self.device)
        cliques = self._cliques.index_select(0, torch.from_numpy(near.numbers).to(self.device))
        rows = near.reach(sent.decoded)
        sums.index_add_(0, cliques[order], rows.index_select(0, order))
        return sent.mixed((sums / members[:, None]).index_select(0, own))

    def _masked(self, exchange: AnyExchange, sums: MaskedSums) -> Mixed:
        if not isinstance(exchange, Exchange) or exchange.over == "server":
            raise NotSimulable(
                "masked_sums: the algorithm needs its neighbours' rows, or a server",
                expected="an algorithm that averages rows among neighbours or in cliques, such as d_psgd",
            )
        if exchange.compressor not in (None, FLOAT32):
            raise NotSimulable(
                f"masked_sums: masked rows are not compressed, as by {exchange.compressor.name}"
            )
        sent = self._sent(exchange, self._numbers, messages=0)
        lists = self._lists_of_neighbours() if exchange.over == "neighbours" else self._cliquemates()
        gone = self._gone()
        sums.missing = {*zip(gone.receivers.tolist(), gone.senders.tolist(), strict=True)}
        mixed = sums.mixed(lists, sent.decoded, place=(self._round, self._exchange))
        self._count(sums.messages, 0)
        self.bytes += sums.bytes
        return sent.mixed(mixed)

    def _cliquemates(self) -> Sparse:
        return Sparse(self._together())

    def _together(self) -> csr_array:
        """The matrix of means within cliques."""
        if self._cliquemates_matrix is None:
            assert self._cliques is not None  # noqa: S101 - requirements have been checked
            cliques = self._cliques.cpu().numpy()
            members = csr_array((np.ones(len(cliques)), (np.arange(len(cliques)), cliques)))
            together = csr_array(members @ members.T)
            together.sort_indices()
            together.data /= np.repeat(np.bincount(cliques)[cliques], np.diff(together.indptr))
            self._cliquemates_matrix = together
        return self._cliquemates_matrix

    def _by_server(self, exchange: Exchange) -> Mixed:
        there = torch.ones_like(self._numbers, dtype=torch.bool)
        if exchange.senders is not None:
            there = exchange.senders.to(self.device)
        if self._away is not None:
            there = there & ~torch.isin(self._numbers, torch.from_numpy(self._away).to(self.device))
        senders = int(there.sum())
        sent = self._sent(exchange, self._numbers, messages=senders)
        self._count(senders, IN_FULL.payload_bytes(sent.decoded.shape[1]))  # and the answers
        if self._away is None:
            return sent.mixed(self._means(sent.decoded))
        n = self.sequence.n
        return sent.mixed(self._means(sent.decoded * there[:, None]) * (n / (n - len(self._away))))

    def _over_links(self, exchange: LinkExchange) -> Mixed:
        links, near = self._links_and_others()
        numbers = (self._numbers.index_select(0, links.owner) << 32) + links.neighbours
        sent = self._sent(exchange, numbers, messages=len(numbers))
        others = torch.from_numpy(near.matrix.indices.astype(np.int64)).to(self.device)
        return sent.mixed(near.reach(sent.decoded).index_select(0, others))

    def _by_rule(self, exchange: NeighbourRows) -> Mixed:
        missing = self._gone()
        messages, preview = self._messages_of_matrix - self._unsent(missing), exchange.preview
        if preview is not None and preview.width and self.outgoing.mask is not None:
            preview = None  # peers send thinned rows to all
        if preview is not None:  # summaries go to all, wishes too, and rows to those who want them
            if preview.width:
                self._count(messages, IN_FULL.payload_bytes(preview.width))
            self._count(messages, IN_FULL.payload_bytes(1))
            messages = 0
        sent = self._sent(exchange, self._numbers, messages=messages)
        if self._complete and len(self._numbers) < self.sequence.n:
            raise NotSimulable(
                "on the complete graph a rule looks at the rows of all nodes, and only some of them are here",
                remedy="Choose another topology, or run it on one machine, without --shards.",
            )
        without = self._without(missing) if len(missing) else None
        near = self._near if without is None else self._part.around(without)
        lists = Sparse(near.matrix, near.numbers) if near and len(missing) else self._lists_of_neighbours()
        lies, rows_around = self._lies(sent, without), near.reach(sent.decoded) if near else sent.decoded
        rows = exchange.rows[:0]

        def outcome(around: Neighbourhood) -> Tensor:
            return exchange.combined(sent.widened(around))

        for around in neighbourhoods(lists, rows_around, width=exchange.rows.shape[1]):
            told = around if lies is None else lies.applied(around, _numbers(lists, around), outcome)
            if told is not around:  # peers refuse rows with numbers that are not finite
                told = told.only(told.rows.isfinite().all(dim=2))
            combined = outcome(told)
            if not len(rows):
                rows = combined.new_empty(len(exchange.rows), *combined.shape[1:])
            rows.index_copy_(0, around.nodes, combined)
            if preview is not None:
                self._count(int(exchange.chosen(sent.widened(told)).present.sum()), self._bytes_of(exchange))
        return Mixed(rows=rows, sent=sent.whole)

    def _gone(self) -> MissingRows:
        """The rows of this exchange that do not arrive."""
        return self._missing[self._exchange] if self._exchange < len(self._missing) else _ALL_ARRIVE

    def _unsent(self, missing: MissingRows) -> int:
        return missing.unsent if self._part.leads else 0

    def _without(self, missing: MissingRows, *, of: csr_array | None = None) -> csr_array:
        """The round's matrix, or another one, without some rows, whose weights go to those who lack them.

        In push-sum they go back to those who sent them: the mass stays where it is.
        """
        matrix = (self.sequence.matrix(self._round) if of is None else of).tolil()
        pairs = {*zip(missing.receivers.tolist(), missing.senders.tolist(), strict=True)}
        for receiver, sender in sorted(pairs):
            keeper = sender if self._pushes else receiver
            matrix[keeper, keeper] += matrix[receiver, sender]
            matrix[receiver, sender] = 0.0
        found = matrix.tocsr()
        found.eliminate_zeros()
        return csr_array(found)

    def _lies(self, sent: Sent, without: csr_array | None) -> Lies | None:
        """Return what hostile nodes send instead, if there are any, to those whom their rows reach."""
        if self.hostile is None or not self.hostile.at_work:
            return None
        links = self if self._complete else self._matrix
        return self.hostile.lies(
            sent.decoded,
            self._exchange,
            lambda: self.sequence.matrix(self._round) if without is None else without,
            of=links if without is None else without,
        )

    def _sent(self, exchange: AnyExchange, numbers: Tensor, *, messages: int) -> Sent:
        """Return the rows that receivers decode, and count the traffic."""
        rows, place = exchange.rows, {"round_number": self._round, "exchange": self._exchange}
        outgoing = self.outgoing.with_codec(exchange.compressor)
        self._count(messages, self._bytes_of(exchange))
        if outgoing == IN_FULL:
            return Sent(rows, rows, None)
        draws = Draws(
            keys=exchange_keys(numbers, seed=self.seed, **place), common=common_key(seed=self.seed, **place)
        )
        return Sent(rows, outgoing.decoded(rows, draws), outgoing.columns(rows.shape[1], draws))

    def _bytes_of(self, exchange: AnyExchange) -> int:
        """Bytes of one row of an exchange."""
        return self.outgoing.with_codec(exchange.compressor).payload_bytes(exchange.rows.shape[1])

    def _count(self, messages: int, each: int) -> None:
        self.messages += messages
        self.bytes += messages * each

    def _mixed(self, sent: Tensor, without: csr_array | None = None) -> Tensor:
        if without is not None:
            near = self._part.around(without)
            return Mixing(near.matrix, device=self.device, workers=self._workers)(near.reach(sent))
        if self._complete:
            return self._means(sent)
        assert self._near is not None  # noqa: S101 - a round has begun
        if self._mixing is None:
            self._mixing = Mixing(self._near.matrix, device=self.device, workers=self._workers)
        return self._mixing(self._near.reach(sent))

    def _means(self, rows: Tensor) -> Tensor:
        """The mean of all nodes' rows, as often as there are rows here."""
        return self._part.mean(rows).expand_as(rows).contiguous()

    def _lists_of_neighbours(self) -> Sparse | Complete:
        return Complete(self.sequence.n) if self._complete else self._sparse()

    def _sparse(self) -> Sparse:
        """Neighbours in this round."""
        if self._lists is None:
            near = self._near or self._part.around(self.sequence.matrix(self._round))
            self._lists = Sparse(near.matrix, near.numbers)
        return self._lists

    def _links_and_others(self) -> tuple[Links, Surroundings]:
        """Ends of links, and for each the other end of the same link, as a permutation."""
        if self._ends is None:
            lists, every = self._sparse(), Sparse(self.sequence.matrix(self._round))
            owners = np.repeat(np.arange(self.sequence.n), every.degrees)
            # Sorted by (neighbour, owner), the k-th end is the other end of the k-th by (owner, neighbour).
            others, places = np.lexsort((owners, every.neighbours)), np.arange(len(owners) + 1)
            permutation = csr_array((np.ones(len(others)), others, places), shape=(len(others), len(others)))
            owner, neighbours, weights = (
                torch.from_numpy(each).to(self.device)
                for each in (
                    np.repeat(np.arange(len(self._numbers)), lists.degrees),
                    lists.numbers[lists.neighbours],
                    lists.weights,
                )
            )
            links = Links(owner=owner, neighbours=neighbours, weights=weights)
            self._ends = links, self._part.around(permutation, owners=owners)
        return self._ends


def _numbers(lists: Sparse | Complete, around: Neighbourhood) -> Tensor:
    """Numbers of the neighbours in a neighbourhood, ``[b, K]``."""
    neighbours, _, _ = lists.padded(around.nodes.cpu().numpy())
    return torch.from_numpy(neighbours).to(around.nodes.device)


def _weighted_sums(around: Neighbourhood) -> Tensor:
    """Σ_j w_ij x_j, ``[b, D]``."""
    return around.own_weights[:, None] * around.own + torch.einsum("bk,bkd->bd", around.weights, around.rows)
