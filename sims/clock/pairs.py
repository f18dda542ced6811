"""Pairs of nodes that exchange rows in a round, as lists for each node."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sims.world.networks import RoundNetwork

__all__ = ["Pairs", "pairs_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Pairs of a receiver and a sender, and the same as lists for each node.

    Parameters
    ----------
    receivers, senders : ndarray
        int64.
    heard, told : list of list of int
        Whom each node hears from, and whom it sends to.
    """

    receivers: NDArray[np.int64]
    senders: NDArray[np.int64]
    heard: list[list[int]]
    told: list[list[int]]

    @classmethod
    def of(cls, receivers: NDArray[np.int64], senders: NDArray[np.int64], n: int) -> Pairs:
        """Make the lists."""
        heard: list[list[int]] = [[] for _ in range(n)]
        told: list[list[int]] = [[] for _ in range(n)]
        for receiver, sender in zip(receivers.tolist(), senders.tolist(), strict=True):
            heard[receiver].append(sender)
            told[sender].append(receiver)
        return cls(receivers, senders, heard, told)


def pairs_of(network: RoundNetwork, number: int, over: str) -> Pairs:
    """Pairs of an exchange among the neighbours of a round, or in cliques; none over a server."""
    n = network.sequence.n
    if over == "clique" and network.cliques is not None:
        together = network.cliques[:, None] == network.cliques
        np.fill_diagonal(together, val=False)
        receivers, senders = np.nonzero(together)
    elif over != "neighbours":
        receivers = senders = np.zeros(0, dtype=np.int64)
    elif network.complete:
        receivers, senders = np.nonzero(~np.eye(n, dtype=np.bool_))
    else:
        matrix = network.sequence.matrix(number)
        receivers = np.repeat(np.arange(n), np.diff(matrix.indptr))
        senders = matrix.indices.astype(np.int64)
        apart = (receivers != senders) & (matrix.data != 0)
        receivers, senders = receivers[apart], senders[apart]
    return Pairs.of(receivers.astype(np.int64), senders.astype(np.int64), n)
