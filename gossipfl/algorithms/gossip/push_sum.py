"""Push-sum gossip: mass is passed on and never lost, so that directed and uneven traffic still finds the mean.

Kempe, Dobra & Gehrke, "Gossip-based computation of aggregate information", FOCS 2003 (Push-Sum); with gradients:
Assran, Loizou, Ballas & Rabbat, "Stochastic gradient push for distributed deep learning", ICML 2019.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from gossipfl.training.nodes import Nodes

__all__ = ["PushSum", "Share"]

Update = Callable[[Nodes], Nodes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A part of the mass of each of B nodes, on its way.

    Parameters
    ----------
    shared : Tensor
        Shared parameters of the model that the mass amounts to: the sum that is sent is weight × model. Shape
        ``[B, shared_size]``.
    weights : Tensor
        Shape ``[B]``, of the rows' dtype.
    ages : Tensor
        Shape ``[B]``, int64.
    """

    shared: Tensor
    weights: Tensor
    ages: Tensor


@dataclass(frozen=True, slots=True)
class PushSum:
    """Push-sum with local training, on B nodes at once.

    A node has a sum s and a weight w, and its model is s/w. On its clock it trains, keeps half of both and sends
    the other half (`halve`, `emit`); what it receives it adds (`absorb`)::

        s ← s − η g(s/w);   (s, w) ← (s/2, w/2), the same to a neighbour;   (s, w) ← (s + s', w + w')

    The sums and the weights of all nodes and of all messages on their way always add up to what they were at the
    start, plus the steps.

    Rows hold models, not sums, so that they can be evaluated, saved and compared as they are; the weight is
    ``auxiliary["weight"]``, shape ``[B]``, and the sum is their product. What stays local is never weighted.

    Parameters
    ----------
    steps_of : {'sum', 'model'}
        ``sum``: training steps apply to the sum, as in Assran et al. (2019), so each moves the mean of all models
        alike whoever makes it. A node that has sent a few times without hearing from anybody has a small weight,
        and moves its own model by η/w. ``model``: steps apply to the model, s ← s − η w g(s/w); none is larger
        than η, and nodes that hear more count for more.
    """

    steps_of: Literal["sum", "model"] = "sum"

    def start(self, nodes: Nodes) -> Nodes:
        """Nodes of weight 1."""
        return replace(nodes, auxiliary={"weight": torch.ones_like(nodes.rows[:, 0])})

    def emit(self, nodes: Nodes, *, shared_size: int) -> Share:
        """The half that the nodes have just taken off their mass: as much as they kept."""
        return Share(shared=nodes.rows[:, :shared_size], weights=nodes.auxiliary["weight"], ages=nodes.ages)

    def halve(self, nodes: Nodes, *, shared_size: int, update: Update) -> Nodes:
        """Train, and keep half of one's mass.

        Parameters
        ----------
        nodes : Nodes
            B nodes.
        shared_size : int
        update : callable
            Local training.

        Returns
        -------
        Nodes
        """
        trained = update(nodes)
        weight = nodes.auxiliary["weight"]
        if self.steps_of == "sum":
            own = nodes.rows[:, :shared_size]
            stepped = own + (trained.rows[:, :shared_size] - own) / weight[:, None]
            trained = trained.with_shared(stepped, ages=trained.ages)
        return replace(trained, auxiliary={"weight": weight / 2})

    def absorb(self, nodes: Nodes, share: Share) -> Nodes:
        """Add received mass to one's own.

        Parameters
        ----------
        nodes : Nodes
            B nodes.
        share : Share
            One for each.

        Returns
        -------
        Nodes
            Not trained; the age is the larger of the two.
        """
        own = nodes.rows[:, : share.shared.shape[1]]
        total = nodes.auxiliary["weight"] + share.weights
        model = torch.lerp(own, share.shared, (share.weights / total)[:, None])
        after = nodes.with_shared(model, ages=torch.maximum(nodes.ages, share.ages))
        return replace(after, auxiliary={"weight": total})
