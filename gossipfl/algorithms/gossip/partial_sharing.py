"""Gossip learning that sends a part of the model at a time.

Hegedűs, Danner & Jelasity, "Decentralized learning works: an empirical comparison of gossip learning and federated
learning", J. Parallel Distrib. Comput. 148, 2021, Section 4: *partitioning* sends one of S fixed parts, each of
which has an age of its own; *subsampling* sends a fresh random 1/S of the parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gossipfl.algorithms.gossip.gossip_learning import Message, merge
from gossipfl.training.nodes import Nodes

__all__ = ["PartialGossip"]

Update = Callable[[Nodes], Nodes]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialGossip:
    """Merge a part of a received model, then train (the order MU), on B nodes at once.

    Parameters
    ----------
    kind : {'partitioned', 'subsampled'}
    parts : int
        S: a message carries one S-th of the shared parameters.
    weighting : {'age', 'plain'}
    merge_limit : int, optional
        As in `gossipfl.algorithms.GossipSettings`.
    """

    kind: Literal["partitioned", "subsampled"]
    parts: int
    weighting: Literal["age", "plain"] = "age"
    merge_limit: int | None = None

    def emit(self, nodes: Nodes, *, shared_size: int) -> Message:
        """Messages the nodes would send now, whole: what is chosen of them is decided where they arrive."""
        return Message(shared=nodes.rows[:, :shared_size], ages=nodes.ages)

    @property
    def ages(self) -> int:
        """Ages of a model: one for each part, or one in all."""
        return self.parts if self.kind == "partitioned" else 1

    def chosen(self, part: Tensor, size: int) -> Tensor:
        """Which of ``size`` shared parameters each message carries.

        Parameters
        ----------
        part : Tensor
            Int64 ``[B]``: the number of the part, 0 … S − 1; of a subsample, any number below 2**31, from which
            sender and receiver compute the same choice.

        Returns
        -------
        Tensor
            Bool ``[B, size]``.
        """
        place = torch.arange(size, device=part.device)
        if self.kind == "partitioned":
            return place % self.parts == part[:, None]
        return _scrambled(_scrambled(place) ^ part[:, None]) % self.parts == 0

    def absorb(self, nodes: Nodes, message: Message, part: Tensor, *, update: Update) -> Nodes:
        """Take the chosen part of one received model into each node, and train.

        Parameters
        ----------
        nodes : Nodes
            B nodes, their ages ``[B, S]`` if partitioned.
        message : Message
            One model for each, of which only the chosen parameters are read; ages as those of nodes.
        part : Tensor
            As in `chosen`.
        update : callable
            Local training.

        Returns
        -------
        Nodes
        """
        size = message.shared.shape[1]
        own = nodes.rows[:, :size]
        column = part[:, None]
        if self.kind == "partitioned":
            own_ages = nodes.ages.gather(1, column)[:, 0]
            other_ages = message.ages.gather(1, column)[:, 0]
            ages = nodes.ages.scatter(1, column, torch.maximum(own_ages, other_ages)[:, None])
        else:
            own_ages, other_ages = nodes.ages, message.ages
            ages = torch.maximum(own_ages, other_ages)
        merged = merge(
            own,
            own_ages,
            message.shared,
            other_ages,
            weighting=self.weighting,
            limit=self.merge_limit,
        )
        shared = torch.where(self.chosen(part, size), merged, own)
        return update(nodes.with_shared(shared, ages=ages))


def _scrambled(x: Tensor) -> Tensor:
    """Hash of numbers below 2**32: two rounds of multiply and shift, within int64."""
    for _ in range(2):
        x = (((x >> 16) ^ x) * 0x45D9F3B) & 0xFFFFFFFF
    return (x >> 16) ^ x
