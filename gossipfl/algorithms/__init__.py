"""What peers do with one another's models: pure functions on rows."""

from __future__ import annotations

from gossipfl.algorithms.d_psgd import DPSGD
from gossipfl.algorithms.gossip_learning import GossipLearning, GossipSettings, Message
from gossipfl.algorithms.partial_sharing import PartialGossip

__all__ = ["DPSGD", "GossipLearning", "GossipSettings", "Message", "PartialGossip"]
