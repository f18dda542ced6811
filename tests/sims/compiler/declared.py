"""A message-driven algorithm of the tests' own, whose behaviour is all parameters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch

from gossipfl.algorithms import Behaviour, Message, MessageAlgorithm, Sharing
from gossipfl.algorithms.gossip.sharing import WHOLE
from gossipfl.training import Nodes

NAME = "tests.sims.compiler.declared:Declared"


@dataclass(frozen=True)
class Declared(MessageAlgorithm):
    """Averages models and whatever is carried with them, and counts what happened to each node."""

    trains: Literal["receipt", "clock", "answer"] = "receipt"
    exchange: Literal["push", "pull", "push-pull"] = "push"
    lost: Literal["lost", "returned"] = "lost"
    sharing: Sharing = WHOLE
    carried: str = ""

    @property
    def behaviour(self) -> Behaviour:
        return Behaviour(
            trains=self.trains,
            exchange=self.exchange,
            lost=self.lost,
            sharing=self.sharing,
            carries=tuple(filter(None, self.carried.split("+"))),
        )

    def start(self, nodes: Nodes) -> Nodes:
        shape = nodes.rows.shape
        return replace(
            nodes,
            auxiliary={
                "trace": nodes.rows.new_ones(shape[0], 3),
                "weight": nodes.rows.new_ones(shape[0]),
                "events": nodes.rows.new_zeros(shape[0], 2, 2),
            },
        )

    def on_clock(self, nodes: Nodes, *, shared_size: int, update) -> Nodes:
        return self._noted(update(nodes), 0, halved=True)

    def on_receipt(self, nodes: Nodes, message: Message, *, update) -> Nodes:
        own, kept = nodes.rows[:, : message.size], nodes.auxiliary
        mean = torch.lerp(own, message.shared, 0.375)
        if message.part is not None:
            mean = torch.where(self.sharing.chosen(message.part, message.size), mean, own)
        ages = torch.maximum(nodes.ages, message.ages)
        after = nodes.with_shared(mean, ages=ages)
        if "momentum" in message.carried:
            width = message.carried["momentum"].shape[1]
            velocity = torch.lerp(nodes.optimiser_state[:, :width], message.carried["momentum"], 0.5)
            after = replace(
                after, optimiser_state=torch.cat([velocity, nodes.optimiser_state[:, width:]], dim=1)
            )
        for name in kept.keys() & message.carried.keys():
            mixed = torch.lerp(kept[name], message.carried[name], 0.25)
            after = replace(after, auxiliary={**after.auxiliary, name: mixed})
        return self._noted(update(after), 1)

    @staticmethod
    def _noted(nodes: Nodes, row: int, *, halved: bool = False) -> Nodes:
        events = nodes.auxiliary["events"].clone()
        events[:, row, 0] += 1
        events[:, row, 1] += nodes.rows[:, 0]
        weight = nodes.auxiliary["weight"] / (2 if halved else 1)
        trace = nodes.auxiliary["trace"] * 0.5 + nodes.rows[:, :3]
        return replace(
            nodes, auxiliary={**nodes.auxiliary, "events": events, "weight": weight, "trace": trace}
        )
