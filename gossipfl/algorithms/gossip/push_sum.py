"""Push-sum gossip: mass is passed on and never lost, so even directed and uneven traffic finds the mean.

Kempe, Dobra & Gehrke, "Gossip-based computation of aggregate information", FOCS 2003 (Push-Sum); with gradients:
Assran, Loizou, Ballas & Rabbat, "Stochastic gradient push for distributed deep learning", ICML 2019.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch

from gossipfl.algorithms.declaration import Parameter
from gossipfl.algorithms.messages import Behaviour, Message, MessageAlgorithm, Update
from gossipfl.training.nodes import Nodes

__all__ = ["PushSum"]

_WEIGHT = "weight"


@dataclass(frozen=True, slots=True, kw_only=True)
class PushSum(MessageAlgorithm):
    """Push-sum with local training, on B nodes at once.

    A node has a sum s and a weight w, and its model is s/w. On its clock it trains, keeps half of both and sends
    the other half; what it receives it adds::

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

    name = "push_sum"
    paper = "Kempe et al., FOCS 2003; Assran et al., ICML 2019"
    rule = "s ← s − ηg(s/w); send half of (s, w) to a neighbour, and add what arrives; the model is s/w"
    sends = "P + 1 a message"

    steps_of: Annotated[
        Literal["sum", "model"],
        Parameter(
            "what training steps apply to: the sum, as in the paper, which moves models of small weight far; or "
            "the model"
        ),
    ] = "sum"

    @property
    def behaviour(self) -> Behaviour:
        """Training on the clock; no mass is lost."""
        return Behaviour(
            trains="clock",
            carries=(_WEIGHT,),
            lost="returned",
            simulated_only="its mean is right only if no mass is ever lost or counted twice, and a peer that "
            "misses an acknowledgement, or is restored from a checkpoint, cannot know which of its shares arrived "
            "(docs/algorithms.md)",
        )

    def start(self, nodes: Nodes) -> Nodes:
        """Nodes of weight 1."""
        return replace(nodes, auxiliary={**nodes.auxiliary, _WEIGHT: torch.ones_like(nodes.rows[:, 0])})

    def on_clock(self, nodes: Nodes, *, shared_size: int, update: Update) -> Nodes:
        """Train, and keep half of the mass; the other half is sent."""
        trained = update(nodes)
        weight = nodes.auxiliary[_WEIGHT]
        if self.steps_of == "sum":
            own = nodes.rows[:, :shared_size]
            stepped = own + (trained.rows[:, :shared_size] - own) / weight[:, None]
            trained = trained.with_shared(stepped, ages=trained.ages)
        return replace(trained, auxiliary={**trained.auxiliary, _WEIGHT: weight / 2})

    def on_receipt(self, nodes: Nodes, message: Message, *, update: Update) -> Nodes:
        """Add received mass to the node's own; the age is the larger of the two."""
        del update
        own, received = nodes.rows[:, : message.size], message.carried[_WEIGHT]
        total = nodes.auxiliary[_WEIGHT] + received
        model = torch.lerp(own, message.shared, (received / total)[:, None])
        after = nodes.with_shared(model, ages=torch.maximum(nodes.ages, message.ages))
        return replace(after, auxiliary={**nodes.auxiliary, _WEIGHT: total})
