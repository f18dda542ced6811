"""Masked sums on coefficients: the sums that receivers see, and the summands, for those who can take masks off.

A receiver and fewer than t of its k neighbours see the sum of the rows that arrived, and nothing else of them.
With t of its neighbours it has shares enough to take every mask off, so such a coalition sees every row.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from gossipfl.algorithms import RoundAlgorithm
from gossipfl.errors import SummandsExposed
from gossipfl.secure import FixedPoint, threshold_of
from sims.engine.masked_sums import MaskedSums
from sims.engine.neighbourhoods import Complete, Sparse
from sims.privacy.errors import NotAccountable
from sims.scenario import Scenario

__all__ = ["LinearSums", "SummedRows", "linear_sums"]

Ints = NDArray[np.int64]


@dataclass
class SummedRows:
    """Rows of masked sums, and who sees them.

    Attributes
    ----------
    rows : list of Tensor
        Each ``[W]``.
    senders, receivers, needed : list of int
        ``needed``: how many of the holders must be with the receiver to see the row; 0 for sums.
    holders : list of sequence of int
        Nodes that hold shares of the secrets of a row's sender.
    """

    rows: list[Tensor] = field(default_factory=list)
    senders: list[int] = field(default_factory=list)
    receivers: list[int] = field(default_factory=list)
    needed: list[int] = field(default_factory=list)
    holders: list[tuple[int, ...]] = field(default_factory=list)

    def add(
        self,
        receiver: int,
        arrived: dict[int, Tensor],
        weights: dict[int, float],
        *,
        neighbours: tuple[int, ...],
    ) -> Tensor | None:
        """Let a receiver have the rows that arrived, ``[W]`` each, by sender; return their sum if there is one.

        Parameters
        ----------
        receiver : int
        arrived : dict of int to Tensor
        weights : dict of int to float
            Of each of these in the sum.
        neighbours : tuple of int
            All that share out secrets for it.
        """
        try:
            threshold = threshold_of(len(neighbours))
        except SummandsExposed as error:
            raise NotAccountable(
                error.what, expected=error.expected, got=error.got, remedy=error.remedy
            ) from None
        total = None
        if len(arrived) >= threshold:
            total = torch.stack([weights[sender] * row for sender, row in arrived.items()]).sum(dim=0)
            self._put(next(iter(arrived)), receiver, total, needed=0, holders=())
        for sender, row in arrived.items():
            self._put(sender, receiver, row, needed=threshold, holders=neighbours)
        return total

    def _put(self, sender: int, receiver: int, row: Tensor, *, needed: int, holders: tuple[int, ...]) -> None:
        self.rows.append(row)
        self.senders.append(sender)
        self.receivers.append(receiver)
        self.needed.append(needed)
        self.holders.append(holders)

    def holding(self, nodes: int) -> csr_array:
        """The holders as a matrix of zeros and ones, ``[rows, nodes]``."""
        counts = [len(each) for each in self.holders]
        places = np.array([node for each in self.holders for node in each], dtype=np.int64)
        rows = np.repeat(np.arange(len(counts)), counts)
        return csr_array((np.ones(len(places)), (rows, places)), shape=(len(counts), nodes))


@dataclass(kw_only=True)
class LinearSums(MaskedSums):
    """Masked sums as simulations draw them, without the rounding of their ring.

    Attributes
    ----------
    seen : SummedRows
        Of the last exchange.
    """

    seen: SummedRows = field(default_factory=SummedRows, init=False)

    def mixed(
        self,
        lists: Sparse | Complete,
        sent: Tensor,
        *,
        place: tuple[int, int],
        degrees: Ints | None = None,
        here: Ints | None = None,
    ) -> Tensor:
        """Each node's own row, added to the sum of its neighbours' rows that arrived; see `MaskedSums`."""
        del degrees, here  # all nodes are here
        arrives, mixed = self.arrivals(lists, place), sent.clone()
        self.seen = SummedRows()
        for node in range(len(sent)):
            neighbours, weights, present = (each[0] for each in lists.padded(np.array([node])))
            around = dict(zip(neighbours[present].tolist(), weights[present].tolist(), strict=True))
            arrived = {other: sent[other] for other, came in zip(around, arrives[node], strict=True) if came}
            total = self.seen.add(node, arrived, around, neighbours=tuple(around))
            if total is not None:
                missing = sum(weight for other, weight in around.items() if other not in arrived)
                mixed[node] = (float(lists.own_weights[node]) + missing) * sent[node] + total
        return mixed


def linear_sums(scenario: Scenario, algorithm: RoundAlgorithm) -> LinearSums | None:
    """Return the masked sums that a scenario declares; None if it declares none.

    Raises
    ------
    NotAccountable
        If the algorithm sends mass, of which no sum can be had.
    """
    section = scenario.masked_sums
    if section is None:
        return None
    if algorithm.requirements.stochastic == "columns":
        raise NotAccountable(
            f"masked_sums: {scenario.algorithm.name!r} sends mass that must not be lost",
            expected="an algorithm that averages rows, such as d_psgd",
        )
    ring = FixedPoint(largest=section.range)
    return LinearSums(ring=ring, drop_out=section.drop_out, seed=scenario.seed)
