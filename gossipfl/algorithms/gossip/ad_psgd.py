"""Asynchronous decentralised SGD: average with a random neighbour, then step along a gradient begun earlier.

Lian, Zhang, Zhang & Liu, "Asynchronous decentralized parallel stochastic gradient descent", ICML 2018,
Algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch

from gossipfl.algorithms.declaration import Parameter
from gossipfl.algorithms.gossip.merging import merge
from gossipfl.algorithms.messages import CODEC, Behaviour, Message, MessageAlgorithm, Update
from gossipfl.settings.codec_names import ModelCodec
from gossipfl.training.nodes import Nodes

__all__ = ["ADPSGD"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ADPSGD(MessageAlgorithm):
    """AD-PSGD as messages, on B nodes at once.

    A node computes a gradient at its model, sends its model to a random neighbour, and asks for the neighbour's.
    The neighbour answers with its model as it is and takes the mean of the two; the node, when the answer is
    there, takes the mean of the two too, and makes the step it had begun::

        x̂ᵢ = xᵢ,  then  xᵢ ← (xᵢ + xⱼ)/2 − η g(x̂ᵢ),  xⱼ ← (xᵢ + xⱼ)/2

    Where messages take no time the two means are one, and this is Algorithm 1 with the gradient of the present
    model. Where they take time others' averages come between: the gradient is stale, x̂ᵢ ≠ xᵢ, as the paper
    allows, and the means are of models of different moments, so that the mean of all models is no longer
    preserved to the last digit.
    """

    name = "ad_psgd"
    paper = "Lian et al., ICML 2018"
    rule = "x̂_i = x_i, then x_i ← ½(x_i + x_j) − ηg(x̂_i) and x_j ← ½(x_i + x_j): the requesting node trains"
    sends = "2P an exchange"

    codec: Annotated[ModelCodec | None, Parameter(CODEC, in_peers="exchange.codec")] = None

    @property
    def behaviour(self) -> Behaviour:
        """Both ways, with training on answers."""
        return Behaviour(trains="answer", exchange="push-pull", codec=self.codec)

    def on_receipt(self, nodes: Nodes, message: Message, *, update: Update) -> Nodes:
        """Take the mean of the node's model and the one received, and the larger of the two ages."""
        del update
        mean = merge(
            nodes.rows[:, : message.size], nodes.ages, message.shared, message.ages, weighting="plain"
        )
        return nodes.with_shared(mean, ages=torch.maximum(nodes.ages, message.ages))
