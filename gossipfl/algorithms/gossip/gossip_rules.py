"""What a gossiping peer does with a model it received: the algorithms that need no rounds, behind one call."""

from __future__ import annotations

from collections.abc import Callable

from gossipfl.algorithms.gossip.ad_psgd import ADPSGD
from gossipfl.algorithms.gossip.gossip_learning import GossipLearning, Message
from gossipfl.settings import GossipSettings
from gossipfl.training.nodes import Nodes

__all__ = ["GossipRule", "gossip_rule", "take_in"]

GossipRule = GossipLearning | ADPSGD


def gossip_rule(settings: GossipSettings) -> GossipRule:
    """The algorithm that settings of gossip name."""
    return ADPSGD() if settings.algorithm == "ad_psgd" else GossipLearning(settings)


def take_in(
    rule: GossipRule,
    nodes: Nodes,
    message: Message,
    *,
    begun: Nodes | None,
    update: Callable[[Nodes], Nodes],
) -> Nodes:
    """Take one received model into each node.

    Parameters
    ----------
    rule : GossipRule
    nodes : Nodes
        B nodes.
    message : Message
        One model for each.
    begun : Nodes or None
        The nodes as they were when they asked, if the messages are answers; None if they came unasked.
    update : callable
        Local training, or the identity. AD-PSGD trains where an answer is taken in, and nowhere else.

    Returns
    -------
    Nodes
    """
    if isinstance(rule, GossipLearning):
        return rule.absorb(nodes, message, update=update)
    if begun is None:
        return rule.average(nodes, message)
    return rule.step(nodes, message, begun, update=update)
