"""Masked sums of all nodes: the fixed-point sums that their protocol gives, its traffic, and its failures."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.errors import NumberOutOfRange, SummandsExposed
from gossipfl.rounds.sums import sum_mixed, summand
from gossipfl.secure import FixedPoint, RingRow, cost_of, ring_sum, threshold_of
from sims.engine.neighbourhoods import Complete, Sparse
from sims.errors import NotSimulable

__all__ = ["MaskedSums"]

Ints = NDArray[np.int64]


@dataclass(kw_only=True)
class MaskedSums:
    """The sums of a round's exchanges, each to the bit as its protocol gives it, without the masks.

    Parameters
    ----------
    ring : FixedPoint
    drop_out : float
        Probability that a neighbour's row does not arrive at a receiver in an exchange.
    seed : int
        Seed of the drop-outs.

    Attributes
    ----------
    missing : collection of (int, int)
        Receivers and senders of rows that do not arrive in the next exchange, besides those that drop out.
    messages, bytes : int
        Of the last exchange besides its rows, and of the rows that arrived.
    failed : int
        Sums that too many neighbours dropped out of, since the start.
    """

    ring: FixedPoint
    drop_out: float = 0.0
    seed: int = 0
    failed: int = 0
    missing: Collection[tuple[int, int]] = field(default=(), init=False)
    messages: int = field(default=0, init=False)
    bytes: int = field(default=0, init=False)

    def mixed(
        self,
        lists: Sparse | Complete,
        sent: Tensor,
        *,
        place: tuple[int, int],
        degrees: Ints | None = None,
        here: Ints | None = None,
    ) -> Tensor:
        """Each node's own row, added to the sum of its neighbours' rows that arrived, ``[B, K]``.

        Parameters
        ----------
        lists : Sparse or Complete
            Neighbours and weights of B nodes.
        sent : Tensor
            Rows as others decode them, of the B nodes and of those they hear, ``[B + H, K]``.
        degrees : ndarray, optional
            How many neighbours each node of the whole network has, int64 ``[N]``; by default the lists'.
        here : ndarray, optional
            Numbers of the B nodes in it, int64; by default all.
        place : tuple of two int
            The round, and the exchange within it.

        Raises
        ------
        NotSimulable
            A node has fewer than 3 neighbours, or a number does not fit the ring.
        """
        self.messages = self.bytes = 0
        here = np.arange(len(lists.degrees)) if here is None else here
        arrives = self.arrivals(lists, place, degrees=degrees, here=here)
        mixed, numbers = sent.new_empty(len(here), sent.shape[1]), lists.numbers
        for node in range(len(here)):
            neighbours, weights, present = (each[0] for each in lists.padded(np.array([node])))
            neighbours, weights = neighbours[present], weights[present]
            survivors = np.flatnonzero(arrives[node])
            self._count(len(neighbours), len(survivors), sent.shape[1])
            total = None
            if len(survivors) >= threshold_of(len(neighbours)):
                total = self._total(sent, neighbours[survivors], weights[survivors])
            self.failed += total is None
            mixed[node] = sum_mixed(
                self.ring,
                sent[node : node + 1],
                total,
                dict(
                    sorted(
                        [
                            *zip(numbers[neighbours].tolist(), weights.tolist(), strict=True),
                            (int(here[node]), float(lists.own_weights[node])),
                        ]
                    )
                ),
                number=int(here[node]),
                summands=numbers[neighbours[survivors]].tolist(),
                listening=False,
            )[0]
        return mixed

    def _total(self, sent: Tensor, senders: Ints, weights: NDArray[np.float64]) -> RingRow:
        try:
            encoded = [
                summand(self.ring, sent[sender : sender + 1], weight=weight)
                for sender, weight in zip(senders.tolist(), weights.tolist(), strict=True)
            ]
        except NumberOutOfRange as error:
            raise NotSimulable(
                error.what,
                expected=error.expected,
                got=error.got,
                remedy="Raise masked_sums.range, or lower the learning rate if training diverges.",
            ) from None
        return ring_sum(encoded, like=encoded[0])

    def _count(self, neighbours: int, survivors: int, numbers: int) -> None:
        try:
            cost = cost_of(neighbours, survivors=survivors)
        except SummandsExposed as error:
            raise NotSimulable(
                error.what, expected=error.expected, got=error.got, remedy=error.remedy
            ) from None
        self.messages += cost.messages + survivors
        self.bytes += cost.bytes + survivors * numbers * self.ring.dtype.itemsize

    def arrivals(
        self,
        lists: Sparse | Complete,
        place: tuple[int, int],
        *,
        degrees: Ints | None = None,
        here: Ints | None = None,
    ) -> list[NDArray[np.bool_]]:
        """Which neighbours of each of the B nodes send their rows, in increasing order; as `mixed`."""
        generator = np.random.default_rng((self.seed, 0x5E, *place))
        degrees = lists.degrees if degrees is None else degrees
        here = np.arange(len(degrees)) if here is None else here
        ends = np.cumsum(degrees)
        arrived = (
            generator.random(int(ends[-1])) >= self.drop_out
            if self.drop_out
            else np.ones(int(ends[-1]), dtype=bool)
        )
        every = np.split(arrived, ends[:-1])
        found, at = [every[number] for number in here], {int(number): k for k, number in enumerate(here)}
        for receiver, sender in self.missing:
            if receiver in at:
                neighbours, _, present = (each[0] for each in lists.padded(np.array([at[receiver]])))
                found[at[receiver]][lists.numbers[neighbours[present]] == sender] = False
        return found
