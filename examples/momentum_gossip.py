"""A message-driven algorithm of one's own: gossip that sends its momentum along, and averages it."""

from dataclasses import dataclass, replace
from typing import Annotated

import torch

from gossipfl.algorithms import Behaviour, Message, MessageAlgorithm, Parameter
from gossipfl.training import Nodes


@dataclass(frozen=True)
class MomentumGossip(MessageAlgorithm):
    """Merge models and velocities, then train: x ← ½(x + y), v ← κ v + (1 − κ) v_y, then a step."""

    kept: Annotated[float, Parameter("κ: share of its own velocity that a node keeps", ge=0, le=1)] = 0.5

    behaviour = Behaviour(trains="receipt", exchange="push-pull", carries=("momentum",))

    def on_receipt(self, nodes: Nodes, message: Message, *, update) -> Nodes:
        """Take one received model and its velocity into each node, and train."""
        size = message.size
        model = torch.lerp(nodes.rows[:, :size], message.shared, 0.5)
        velocity = torch.lerp(message.carried["momentum"], nodes.optimiser_state[:, :size], self.kept)
        merged = nodes.with_shared(model, ages=torch.maximum(nodes.ages, message.ages))
        return update(
            replace(merged, optimiser_state=torch.cat([velocity, nodes.optimiser_state[:, size:]], dim=1))
        )
