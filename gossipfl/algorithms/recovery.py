"""What becomes of a model that diverged: it goes back to one that was good, and then takes over a neighbour's.

Averaging does not mend a row that holds NaN or an infinity, nor one so large that training overflows again.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from gossipfl.algorithms.gossip.gossip_learning import Message
from gossipfl.training.nodes import Nodes

__all__ = ["adopt", "go_back"]


def go_back(nodes: Nodes, good: Nodes) -> Nodes:
    """Give nodes the models they had when all was well.

    Parameters
    ----------
    nodes : Nodes
        B nodes that diverged.
    good : Nodes
        The same nodes, earlier.

    Returns
    -------
    Nodes
        With the earlier rows and ages, and momentum at rest. Steps are counted on from ``nodes``, so that other
        batches are drawn than those that led astray.
    """
    return replace(nodes, rows=good.rows, ages=good.ages, momentum=torch.zeros_like(nodes.momentum))


def adopt(nodes: Nodes, message: Message) -> Nodes:
    """Take received models in the place of one's own, not averaged with it.

    Parameters
    ----------
    nodes : Nodes
        B nodes, whose local parts are finite.
    message : Message
        One model for each.

    Returns
    -------
    Nodes
        With the received shared parameters and ages, what stays local as it was, and momentum at rest.
    """
    received = nodes.with_shared(message.shared, ages=message.ages)
    return replace(received, momentum=torch.zeros_like(nodes.momentum))
