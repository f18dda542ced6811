"""A member that lies: it pushes models to peers as fast as they answer."""

from __future__ import annotations

import numpy as np
import torch
import trio

from gossipfl.codecs import FLOAT32
from gossipfl.errors import ExchangeFailed, GossipflError
from gossipfl.network import Identity, open_host
from gossipfl.peer.assembly import expectation_of
from gossipfl.training import NodeData, Nodes, Trainer
from gossipfl.wire import ModelMessage, encode_model

LIES = ("zeros", "garbage", "huge", "flipped", "constant", "aged")
OLDEST = 2**40


class Liar:
    """Knows the task, and the newest model that each of its victims sent it."""

    def __init__(self, kind: str, task, settings) -> None:
        self.kind, self.task = kind, task
        self.size = task.layout.shared_size
        self.generator = torch.Generator().manual_seed(0)
        self.identity = Identity.generate()
        self.pushed = 0
        self.own = task.initial_row()[: self.size]
        if kind == "constant":
            self.own = self._trained(settings)

    def _trained(self, settings):
        data = self.task.dataset()
        trainer = Trainer.of(
            self.task, NodeData.of_one_node(data.train_inputs, data.train_targets), settings.training
        )
        nodes = Nodes.start(self.task.initial_row()[None], optimiser_state_size=trainer.optimiser_state_size)
        for _ in range(200):
            nodes, _ = trainer.train(nodes, np.zeros(1, dtype=np.int64))
        return nodes.rows[0, : self.size]

    def lie(self, theirs: torch.Tensor, age: int) -> tuple[torch.Tensor, int]:
        match self.kind:
            case "zeros":
                return torch.zeros(self.size), OLDEST
            case "garbage":
                return 0.2 * torch.randn(self.size, generator=self.generator), 10_000
            case "huge":
                return torch.full((self.size,), 1e6), 100
            case "flipped":
                return -theirs, age + 1000
            case "constant":
                return self.own, OLDEST
        return theirs, OLDEST

    async def run(self, victims: list[tuple[str, tuple[str, ...]]]) -> None:
        """Push to all victims at once, until cancelled."""
        opened = open_host(self.identity, expectation=expectation_of(self.task))
        async with opened as host, trio.open_nursery() as nursery:
            for peer_id, addresses in victims:
                nursery.start_soon(self._push, host, peer_id, addresses)

    async def _push(self, host, peer_id, addresses) -> None:
        theirs, age, sequence = self.task.initial_row()[: self.size], 0, 0
        while True:
            sequence += 1
            row, claimed = self.lie(theirs, age)
            frame = encode_model(
                row,
                codec=FLOAT32,
                key=0,
                task=self.task.fingerprint,
                layout=self.task.layout.digest,
                age=claimed,
                incarnation=1,
                sequence=sequence,
                event=sequence,
                wants_answer=True,
            )
            try:
                reply = await host.exchange(peer_id, addresses, frame, seconds=5.0)
            except (ExchangeFailed, GossipflError):
                await trio.sleep(0.05)
                continue
            self.pushed += 1
            if isinstance(reply, ModelMessage):
                theirs, age = reply.row, reply.header.age
