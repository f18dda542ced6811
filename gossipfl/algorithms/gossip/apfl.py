"""APFL by gossip learning: shared models take random walks, and beside each node's there is an own one.

Deng, Kamani & Mahdavi, "Adaptive personalized federated learning", 2020 (arXiv 2003.13461); merges: Ormándi,
Hegedűs & Jelasity, Concurrency and Computation 25(4), 2013, and Hegedűs, Danner & Jelasity, J. Parallel Distrib.
Comput. 148, 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch

from gossipfl.algorithms.declaration import Parameter
from gossipfl.algorithms.gossip.merging import Weighting, merge
from gossipfl.algorithms.interpolation import trained_beside, with_own_models
from gossipfl.algorithms.messages import CODEC, Behaviour, Message, MessageAlgorithm, Update
from gossipfl.settings.codec_names import ModelCodec
from gossipfl.training.nodes import Nodes

__all__ = ["GossipAPFL"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GossipAPFL(MessageAlgorithm):
    """Gossip learning (MU) with the shared models; the personal ones are ``v̄ = αv + (1 − α)w``."""

    name = "apfl_gossip"
    paper = "Deng, Kamani & Mahdavi, arXiv 2020; Ormándi et al. 2013"
    rule = "w as in gossip_learning (MU), v and α as in apfl; the model is v̄ = αv + (1 − α)w"
    sends = "P a message"

    share: Annotated[
        float, Parameter("α at first: share of the own model in the personal one", ge=0, le=1)
    ] = 0.5
    adapts: Annotated[bool, Parameter("whether α is learned, or stays")] = False
    weighting: Annotated[Weighting, Parameter("weight of each shared model: its age, or one half")] = "age"
    exchange: Annotated[
        Literal["push", "pull", "push-pull"],
        Parameter("whether nodes send their models, request others', or both", in_peers="exchange.mode"),
    ] = "push"
    codec: Annotated[ModelCodec | None, Parameter(CODEC, in_peers="exchange.codec")] = None

    @property
    def behaviour(self) -> Behaviour:
        """Training on receipt."""
        return Behaviour(exchange=self.exchange, codec=self.codec)

    def start(self, nodes: Nodes) -> Nodes:
        """Own models that are the shared ones so far."""
        return with_own_models(nodes, share=self.share)

    def on_receipt(self, nodes: Nodes, message: Message, *, update: Update) -> Nodes:
        """Merge the shared models, and train both."""
        own, received = nodes.rows[:, : message.size], message.shared
        merged = merge(own, nodes.ages, received, message.ages, weighting=self.weighting)
        after = nodes.with_shared(merged, ages=torch.maximum(nodes.ages, message.ages))
        return trained_beside(after, update, shared_size=message.size, adapts=self.adapts)
