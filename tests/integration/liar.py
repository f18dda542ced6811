"""Members that lie: they push models to peers as fast as they answer, and answer with lies when they are asked."""

from __future__ import annotations

import numpy as np
import torch
import trio

from gossipfl.codecs import FLOAT32
from gossipfl.errors import ExchangeFailed, GossipflError
from gossipfl.network import Identity, open_host
from gossipfl.peer.assembly import expectation_of
from gossipfl.training import NodeData, Nodes, Trainer
from gossipfl.wire import Acknowledgement, ModelMessage, View, encode, encode_model
from tests.lies import LIES, SUBTLE_LIES, Heard

__all__ = ["LIES", "SUBTLE_LIES", "Liar"]


class Liar:
    """Knows the task, and the newest model that each of its victims sent it."""

    def __init__(self, lie: str, task, settings, *, seed: int = 0, threshold=None, identity=None) -> None:
        self.lie = {**LIES, **SUBTLE_LIES}[lie]
        self.task, self.settings, self.threshold = task, settings, threshold
        self.size = task.layout.shared_size
        self.generator = torch.Generator().manual_seed(seed)
        self.identity = identity or Identity.generate()
        self.pushed = self.sequence = 0
        self.direction = torch.nn.functional.normalize(self.noise(), dim=0)
        self.permutation = torch.randperm(self.size, generator=self.generator)
        self.own = self._trained() if lie.startswith("constant") else task.initial_row()[: self.size]
        self.heard: dict[str, Heard] = {}

    def noise(self) -> torch.Tensor:
        return torch.randn(self.size, generator=self.generator)

    def _trained(self):
        data = self.task.dataset()
        trainer = Trainer.of(
            self.task, NodeData.of_one_node(data.train_inputs, data.train_targets), self.settings.training
        )
        nodes = Nodes.start(self.task.initial_row()[None], optimiser_state_size=trainer.optimiser_state_size)
        for _ in range(200):
            nodes, _ = trainer.train(nodes, np.zeros(1, dtype=np.int64))
        return nodes.rows[0, : self.size]

    async def run(self, victims: list[tuple[str, tuple[str, ...]]]) -> None:
        """Push to all victims at once, until cancelled."""
        opened = open_host(self.identity, expectation=expectation_of(self.task), threshold=self.threshold)
        async with opened as host, trio.open_nursery() as nursery:
            host.serve(lambda peer_id, message: self._answer(host, peer_id, message))
            for peer_id, addresses in victims:
                nursery.start_soon(self._push, host, peer_id, addresses)

    def _frame(self, victim: str, *, wants_answer: bool):
        first = self.task.initial_row()[: self.size]
        heard = self.heard.get(victim, Heard(first, 0, first, 0))
        row, age = self.lie(self, heard)
        self.heard[victim] = Heard(heard.row, heard.age, heard.early, heard.told + 1)
        self.sequence += 1
        return encode_model(
            row,
            codec=FLOAT32,
            key=0,
            task=self.task.fingerprint,
            layout=self.task.layout.digest,
            age=age,
            incarnation=1,
            sequence=self.sequence,
            event=self.sequence,
            wants_answer=wants_answer,
        )

    def _hear(self, victim: str, message: ModelMessage) -> None:
        known = self.heard.get(victim)
        early = message.row if known is None or message.header.age < 100 else known.early
        self.heard[victim] = Heard(message.row, message.header.age, early, known.told if known else 0)

    async def _answer(self, host, peer_id: str, message):
        if isinstance(message, View):
            return encode(self._view(host))
        if not isinstance(message, ModelMessage):
            return encode(Acknowledgement(incarnation=1, sequence=self.sequence))
        self._hear(peer_id, message)
        return self._frame(peer_id, wants_answer=False)

    def _view(self, host) -> View:
        return View(task=self.task.fingerprint, peers=(host.announcement(),))

    async def _push(self, host, peer_id, addresses) -> None:
        is_known = False
        while True:
            try:
                if not is_known:
                    await host.exchange(peer_id, addresses, encode(self._view(host)), seconds=5.0)
                    is_known = True
                frame = self._frame(peer_id, wants_answer=True)
                reply = await host.exchange(peer_id, addresses, frame, seconds=5.0)
            except (ExchangeFailed, GossipflError):
                await trio.sleep(0.05)
                continue
            self.pushed += 1
            if isinstance(reply, ModelMessage):
                self._hear(peer_id, reply)
