"""Gossip learning: models take random walks over the peers, are trained where they arrive, and merge.

Ormándi, Hegedűs & Jelasity, "Gossip learning with linear models on fully distributed data", Concurrency and
Computation 25(4), 2013; age-weighted merge: Hegedűs, Danner & Jelasity, "Decentralized learning works: an
empirical comparison of gossip learning and federated learning", J. Parallel Distrib. Comput. 148, 2021; limited
merge: Danner, Hegedűs & Jelasity, "Improving gossip learning via limited model merging", ICCCI 2023.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from gossipfl.settings import GossipSettings, MergeSettings
from gossipfl.training.nodes import Nodes

__all__ = ["GossipLearning", "GossipSettings", "Message", "merge"]

Update = Callable[[Nodes], Nodes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """B models on their way, one to each of B nodes.

    Parameters
    ----------
    shared : Tensor
        Shared parameters, shape ``[B, shared_size]``, float32.
    ages : Tensor
        Shape ``[B]``, int64.
    """

    shared: Tensor
    ages: Tensor


def merge(
    own: Tensor,
    own_ages: Tensor,
    other: Tensor,
    other_ages: Tensor,
    *,
    weighting: Literal["age", "plain"],
    limit: int | None = None,
) -> Tensor:
    """Average models pairwise.

    ``plain``: the mean (Ormándi et al. 2013, Algorithm 2). ``age``: weights proportional to age (Hegedűs et
    al. 2021, Algorithm 3); where both ages are 0, the mean. With a limit (Danner et al. 2023) only models whose
    ages differ by at most so much are averaged; of others the older is taken as it is, because the little that
    the younger one has learned would dilute it.

    Parameters
    ----------
    own, other : Tensor
        Shape ``[B, P]``, float32.
    own_ages, other_ages : Tensor
        Shape ``[B]``, int64.
    weighting : {'age', 'plain'}
    limit : int, optional
        Largest difference of ages at which models are averaged; any unless given.

    Returns
    -------
    Tensor
        Shape ``[B, P]``, a convex combination of the two.
    """
    if weighting == "plain" and limit is None:
        return torch.lerp(own, other, 0.5)
    # In double precision: in int64 the sum of two large ages would overflow.
    own_age, other_age = own_ages.double(), other_ages.double()
    if weighting == "plain":
        weight = torch.full_like(own_age, 0.5)
    else:
        total = own_age + other_age
        weight = torch.where(total > 0, other_age / total.clamp(min=1), 0.5)
    if limit is not None:
        older = other_age - own_age
        weight = torch.where(older > limit, 1.0, torch.where(older < -limit, 0.0, weight))
    return torch.lerp(own, other, weight.to(own.dtype)[:, None])


@dataclass(frozen=True, slots=True)
class GossipLearning:
    """The message-driven algorithm of gossip learning, on B nodes at once."""

    settings: MergeSettings = field(default_factory=MergeSettings)

    def emit(self, nodes: Nodes, *, shared_size: int) -> Message:
        """Messages the nodes would send now: their shared parameters and ages."""
        return Message(shared=nodes.rows[:, :shared_size], ages=nodes.ages)

    def absorb(self, nodes: Nodes, message: Message, *, update: Update) -> Nodes:
        """Take one received model into each node.

        Writing U for ``update`` and M for `merge` (Ormándi et al. 2013, Algorithm 2), with x one's own model
        and y the received one: RW gives ``U(y)``, MU ``U(M(x, y))``, UM ``M(U(x), U(y))``. (There x is the
        model received before y; as in Hegedűs et al. 2021 it is one's current model here.) What stays local
        (a personal head, buffers) and the optimiser's state stay the node's own throughout; the age becomes
        the larger of the two wherever both took part.

        Parameters
        ----------
        nodes : Nodes
            B nodes.
        message : Message
            One model for each.
        update : callable
            Local training of nodes, or the identity where several merges share one training.

        Returns
        -------
        Nodes
        """
        received = nodes.with_shared(message.shared, ages=message.ages)
        match self.settings.merge:
            case "RW":
                return update(received)
            case "MU":
                return update(self._merged(nodes, received, message.shared.shape[1]))
            case "UM":
                own = update(nodes)
                trained = update(received)
                return self._merged(own, trained, message.shared.shape[1])

    def _merged(self, own: Nodes, other: Nodes, shared_size: int) -> Nodes:
        shared = merge(
            own.rows[:, :shared_size],
            own.ages,
            other.rows[:, :shared_size],
            other.ages,
            weighting=self.settings.weighting,
            limit=self.settings.merge_limit,
        )
        ages = torch.maximum(own.ages, other.ages)
        return replace(own.with_shared(shared, ages=ages), steps=torch.maximum(own.steps, other.steps))
