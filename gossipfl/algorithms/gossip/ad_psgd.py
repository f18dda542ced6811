"""Asynchronous decentralised SGD: average with one random neighbour, then step along a gradient begun before.

Lian, Zhang, Zhang & Liu, "Asynchronous decentralized parallel stochastic gradient descent", ICML 2018,
Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from gossipfl.algorithms.gossip.gossip_learning import Message, merge
from gossipfl.training.nodes import Nodes

__all__ = ["ADPSGD"]

Update = Callable[[Nodes], Nodes]


@dataclass(frozen=True, slots=True)
class ADPSGD:
    """AD-PSGD as messages, on B nodes at once.

    A node computes a gradient at its model, sends its model to a random neighbour, and asks for the neighbour's.
    The neighbour answers with its model as it is and takes the mean of the two (`average`); the node, when the
    answer is there, takes the mean of the two too, and makes the step it had begun (`step`)::

        x̂ᵢ = xᵢ,  then  xᵢ ← (xᵢ + xⱼ)/2 − η g(x̂ᵢ),  xⱼ ← (xᵢ + xⱼ)/2

    Where messages take no time the two means are one, and this is Algorithm 1 with the gradient of the present
    model. Where they take time others' averages come between: the gradient is stale, x̂ᵢ ≠ xᵢ, as the paper
    allows, and the means are of models of different moments, so that the mean of all models is no longer
    preserved to the last digit.
    """

    def emit(self, nodes: Nodes, *, shared_size: int) -> Message:
        """Messages the nodes would send now: their shared parameters and ages."""
        return Message(shared=nodes.rows[:, :shared_size], ages=nodes.ages)

    def average(self, nodes: Nodes, message: Message) -> Nodes:
        """Take the mean of one's model and one received: what the asked node does.

        Parameters
        ----------
        nodes : Nodes
            B nodes.
        message : Message
            One model for each.

        Returns
        -------
        Nodes
            Not trained; the age is the larger of the two.
        """
        shared = nodes.rows[:, : message.shared.shape[1]]
        mean = merge(shared, nodes.ages, message.shared, message.ages, weighting="plain")
        return nodes.with_shared(mean, ages=torch.maximum(nodes.ages, message.ages))

    def step(self, nodes: Nodes, message: Message, begun: Nodes, *, update: Update) -> Nodes:
        """Take the mean, and then the step that was begun: what the asking node does with the answer.

        Parameters
        ----------
        nodes : Nodes
            B nodes as they are now.
        message : Message
            One answer for each.
        begun : Nodes
            The same nodes as they were when their gradients were begun; of them, rows and ages count.
        update : callable
            Local training; what it adds to ``begun`` is added to the mean.

        Returns
        -------
        Nodes
        """
        before = replace(nodes, rows=begun.rows, ages=begun.ages)
        trained = update(before)
        averaged = self.average(nodes, message)
        return replace(
            averaged,
            rows=averaged.rows + (trained.rows - before.rows),
            ages=averaged.ages + (trained.ages - before.ages),
            steps=trained.steps,
            momentum=trained.momentum,
        )
