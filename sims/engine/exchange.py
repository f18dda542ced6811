"""The exchanges of a round, for all nodes at once, and the count of their traffic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

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
from sims.engine.neighbourhoods import Complete, Sparse, neighbourhoods
from sims.engine.part import Everybody, Part
from sims.engine.round_links import RoundLinks
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
        self._part = part or Everybody(sequence.n)
        self._links = RoundLinks(
            sequence,
            cliques=cliques,
            complete=complete,
            pushes=pushes,
            part=self._part,
            workers=workers or Workers(1),
            device=device,
        )
        self.hostile, self.masked_sums = hostile, masked_sums
        self.sequence, self.seed, self.device, self.outgoing = sequence, seed, device, outgoing
        self.messages, self.bytes = 0, 0
        self._round = self._exchange = 0
        self._missing: Sequence[MissingRows] = ()
        self._away: Ints | None = None

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
        self._links.begin(number)

    def links(self) -> Links:
        """Give the ends of the round's links (`RoundLinks.ends`)."""
        return self._links.ends()[0]

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
        sent = self._sent(exchange, messages=self._links.messages - self._unsent(missing))
        without = self._links.without(missing) if len(missing) else None
        mixed = self._links.mixed(sent.decoded, without)
        if self.hostile is None or not self.hostile.at_work:
            return sent.mixed(mixed)
        lists, reach = self._links.neighbours(without)
        lies, rows_around = self._lies(self.hostile, sent, without), reach(sent.decoded)
        for around in neighbourhoods(lists, rows_around, among=lies.victims):
            told = lies.applied(around, _numbers(lists, around), _weighted_sums)
            if told is not around:
                changes = torch.einsum("bk,bkd->bd", around.weights, told.rows - around.rows)
                mixed.index_add_(0, around.nodes, changes)
        return sent.mixed(mixed)

    def _in_cliques(self, exchange: Exchange) -> Mixed:
        cliques = self._links.cliques
        assert cliques is not None  # noqa: S101 - requirements have been checked
        members, missing = torch.bincount(cliques)[cliques.index_select(0, self._links.numbers)], self._gone()
        sent = self._sent(exchange, messages=int((members - 1).sum()) - self._unsent(missing))
        if len(missing):
            without = self._links.without(missing, of=self._links.together())
            return sent.mixed(self._links.mixed(sent.decoded, without))
        return sent.mixed(self._links.clique_means(sent.decoded))

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
        sent, gone = self._sent(exchange, messages=0), self._gone()
        among = self._links.together() if exchange.over == "clique" else None
        lists, reach = self._links.neighbours(among)
        sums.missing = {*zip(gone.receivers.tolist(), gone.senders.tolist(), strict=True)}
        mixed = sums.mixed(
            lists,
            reach(sent.decoded),
            degrees=self._links.degrees(among),
            here=self._links.numbers.numpy(),
            place=(self._round, self._exchange),
        )
        self._count(sums.messages, 0)
        self.bytes += sums.bytes
        return sent.mixed(mixed)

    def _by_server(self, exchange: Exchange) -> Mixed:
        numbers = self._links.numbers
        there = torch.ones_like(numbers, dtype=torch.bool)
        if exchange.senders is not None:
            there = exchange.senders.to(self.device)
        if self._away is not None:
            there = there & ~torch.isin(numbers, torch.from_numpy(self._away).to(self.device))
        senders = int(there.sum())
        sent = self._sent(exchange, messages=senders)
        self._count(senders, IN_FULL.payload_bytes(sent.decoded.shape[1]))  # and the answers
        oldest = None if exchange.ages is None else self._part.largest(exchange.ages.max())
        if self._away is None:
            return replace(sent.mixed(self._links.means(sent.decoded)), oldest=oldest)
        n = self.sequence.n
        means = self._links.means(sent.decoded * there[:, None]) * (n / (n - len(self._away)))
        return replace(sent.mixed(means), oldest=oldest)

    def _over_links(self, exchange: LinkExchange) -> Mixed:
        links, near = self._links.ends()
        numbers = (self._links.numbers.index_select(0, links.owner) << 32) + links.neighbours
        sent = self._sent(exchange, numbers=numbers, messages=len(numbers))
        others = torch.from_numpy(near.matrix.indices.astype(np.int64)).to(self.device)
        return sent.mixed(near.reach(sent.decoded).index_select(0, others))

    def _by_rule(self, exchange: NeighbourRows) -> Mixed:
        missing = self._gone()
        messages, preview = self._links.messages - self._unsent(missing), exchange.preview
        if preview is not None and preview.width and self.outgoing.mask is not None:
            preview = None  # peers send thinned rows to all
        if preview is not None:  # summaries go to all, wishes too, and rows to those who want them
            if preview.width:
                self._count(messages, IN_FULL.payload_bytes(preview.width))
            self._count(messages, IN_FULL.payload_bytes(1))
            messages = 0
        sent = self._sent(exchange, messages=messages)
        without = self._links.without(missing) if len(missing) else None
        lists, reach = self._links.neighbours(without)
        lying = self.hostile if self.hostile is not None and self.hostile.at_work else None
        lies = None if lying is None else self._lies(lying, sent, without)
        rows_around = reach(sent.decoded)
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

    def _lies(self, hostile: HostileNodes, sent: Sent, without: csr_array | None) -> Lies:
        """Return what hostile nodes send instead to those whom their rows reach."""
        lists, reach = self._links.neighbours(without)
        return hostile.lies(
            sent.decoded,
            self._exchange,
            lambda: self._links.matrix() if without is None else without,
            of=self._links.identity if without is None else without,
            reach=reach,
            everybody=self._part.everybody,
            numbers=lists.numbers,
        )

    def _sent(self, exchange: AnyExchange, *, messages: int, numbers: Tensor | None = None) -> Sent:
        """Return the rows that receivers decode, and count the traffic; rows are numbered as nodes by default."""
        rows, place = exchange.rows, {"round_number": self._round, "exchange": self._exchange}
        outgoing = self.outgoing.with_codec(exchange.compressor)
        self._count(messages, self._bytes_of(exchange))
        if outgoing == IN_FULL:
            return Sent(rows, rows, None)
        numbers = self._links.numbers if numbers is None else numbers
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


def _numbers(lists: Sparse | Complete, around: Neighbourhood) -> Tensor:
    """Numbers of the neighbours in a neighbourhood, ``[b, K]``."""
    neighbours, _, _ = lists.padded(around.nodes.cpu().numpy())
    return torch.from_numpy(neighbours).to(around.nodes.device)


def _weighted_sums(around: Neighbourhood) -> Tensor:
    """Σ_j w_ij x_j, ``[b, D]``."""
    return around.own_weights[:, None] * around.own + torch.einsum("bk,bkd->bd", around.weights, around.rows)
