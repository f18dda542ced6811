"""Gossip learning: models take random walks over the peers, and are trained and merged where they arrive.

Ormándi, Hegedűs & Jelasity, "Gossip learning with linear models on fully distributed data", Concurrency and
Computation 25(4), 2013; age-weighted merge, and sharing of parts of models: Hegedűs, Danner & Jelasity,
"Decentralized learning works: an empirical comparison of gossip learning and federated learning", J. Parallel
Distrib. Comput. 148, 2021; limited merge: Danner, Hegedűs & Jelasity, "Improving gossip learning via limited
model merging", ICCCI 2023; token accounts: Danner & Jelasity, "Token account algorithms", ICDCS 2018.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch

from gossipfl.algorithms.declaration import Parameter
from gossipfl.algorithms.gossip.acceptance import ANYTHING, Acceptance
from gossipfl.algorithms.gossip.flow import PROACTIVE, Flow
from gossipfl.algorithms.gossip.merging import Weighting, merge
from gossipfl.algorithms.gossip.sharing import WHOLE, Sharing
from gossipfl.algorithms.messages import CODEC, Behaviour, Message, MessageAlgorithm, Update
from gossipfl.errors import SettingError
from gossipfl.settings.codec_names import ModelCodec
from gossipfl.training.nodes import Nodes

__all__ = ["GossipLearning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GossipLearning(MessageAlgorithm):
    """Gossip learning with whole models or parts of them, on B nodes at once.

    Raises
    ------
    SettingError
        Two parameters contradict each other.
    """

    name = "gossip_learning"
    theory = "pairwise averages"
    paper = "Ormándi et al. 2013; Hegedűs et al. 2021; Danner et al. 2023"
    rule = (
        "x ← U(M(x, y)), merge with the received model, then train (MU); or U(y) (RW), or M(U(x), U(y)) (UM)"
    )
    sends = "P a message; P / S with sharing"

    merge: Annotated[
        Literal["RW", "MU", "UM"],
        Parameter("RW: train the received model; MU: merge, then train; UM: train both, then merge"),
    ] = "MU"
    weighting: Annotated[Weighting, Parameter("weight of each model in a merge: its age, or one half")] = (
        "age"
    )
    merge_limit: Annotated[
        int | None,
        Parameter(
            "largest difference of ages at which models are averaged; beyond it the older one is adopted "
            "unchanged; no limit if unset",
            ge=0,
        ),
    ] = None
    exchange: Annotated[
        Literal["push", "pull", "push-pull"],
        Parameter("whether nodes send their models, request others', or both", in_peers="exchange.mode"),
    ] = "push"
    flow: Annotated[Flow, Parameter("whether messages are sent periodically, or paid for with tokens")] = (
        PROACTIVE
    )
    sharing: Annotated[
        Sharing, Parameter("how much of a model each message carries; parts are merged by MU")
    ] = WHOLE
    acceptance: Annotated[
        Acceptance, Parameter("which models are merged, and how far, by their distance from the node's own")
    ] = ANYTHING
    codec: Annotated[ModelCodec | None, Parameter(CODEC, in_peers="exchange.codec")] = None

    def check(self) -> None:
        """Refuse parameters without effect, and parts of models that replace whole ones."""
        if self.merge == "RW" and self.merge_limit is not None:
            raise SettingError(
                "merge_limit is without effect where models are never merged (merge = 'RW')",
                got=self.merge_limit,
                remedy="Leave it out, or choose MU or UM.",
            )
        if self.sharing.kind != "whole" and self.merge != "MU":
            raise SettingError(
                "parts of models can only be merged: they cannot replace whole models",
                expected="merge = 'MU' with partitioned or subsampled sharing",
                got=self.merge,
            )
        _ = self.behaviour  # whose own contradictions are errors too

    @property
    def behaviour(self) -> Behaviour:
        """Training on receipt."""
        ages: Literal["larger", "received", "decided"] = "received" if self.merge == "RW" else "larger"
        return Behaviour(
            exchange=self.exchange,
            flow=self.flow,
            sharing=self.sharing,
            ages=ages if self.acceptance == ANYTHING else "decided",
            codec=self.codec,
        )

    def start(self, nodes: Nodes) -> Nodes:
        """Nodes that remember usual distances, if models are accepted by them."""
        return self.acceptance.start(nodes)

    def on_receipt(self, nodes: Nodes, message: Message, *, update: Update) -> Nodes:
        """Take one received model into each node.

        Writing U for ``update`` and M for `merge` (Ormándi et al. 2013, Algorithm 2), with x the node's own model
        and y the received one: RW gives ``U(y)``, MU ``U(M(x, y))``, UM ``M(U(x), U(y))``. (There x is the
        model received before y; as in Hegedűs et al. 2021 it is the node's current model here.) What stays local
        (a personal head, buffers) and the optimiser's state stay the node's own throughout; the age becomes
        the larger of the two wherever both took part. Of a model that is not accepted nothing is merged, and the
        node trains its own.
        """
        nodes, message = self.acceptance.applied(nodes, message, self.sharing)
        if self.sharing.kind != "whole":
            return update(self._part_merged(nodes, message))
        received = nodes.with_shared(message.shared, ages=message.ages)
        match self.merge:
            case "RW":
                return update(received)
            case "MU":
                return update(self._merged(nodes, received, message.size, spend=message.is_spent))
            case "UM":
                own = update(nodes)
                trained = update(received)
                return self._merged(own, trained, message.size)

    def _merged(self, own: Nodes, other: Nodes, shared_size: int, *, spend: bool = False) -> Nodes:
        received = other.rows[:, :shared_size]
        shared = merge(
            own.rows[:, :shared_size],
            own.ages,
            received,
            other.ages,
            weighting=self.weighting,
            limit=self.merge_limit,
            out=received if spend else None,
        )
        ages = torch.maximum(own.ages, other.ages)
        return replace(own.with_shared(shared, ages=ages), steps=torch.maximum(own.steps, other.steps))

    def _part_merged(self, nodes: Nodes, message: Message) -> Nodes:
        """Merge the part that was sent, with the part's own age if it has one."""
        part = message.part
        assert part is not None  # noqa: S101 - sharing is declared
        own, own_ages, other_ages = nodes.rows[:, : message.size], nodes.ages, message.ages
        if self.sharing.kind == "partitioned":
            own_ages, other_ages = (ages.gather(1, part[:, None])[:, 0] for ages in (own_ages, other_ages))
        merged = merge(
            own, own_ages, message.shared, other_ages, weighting=self.weighting, limit=self.merge_limit
        )
        ages = torch.maximum(own_ages, other_ages)
        if self.sharing.kind == "partitioned":
            ages = nodes.ages.scatter(1, part[:, None], ages[:, None])
        shared = torch.where(self.sharing.chosen(part, message.size), merged, own)
        return nodes.with_shared(shared, ages=ages)
