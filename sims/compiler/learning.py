"""Models of the reference executor's nodes, and what is done to them: one node at a time, a row each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.algorithms import Message
from gossipfl.algorithms.author_calls import on_answer, on_clock, on_receipt
from gossipfl.algorithms.in_transit import as_received
from gossipfl.codecs.draws import receipt_keys
from gossipfl.outgoing import Draws
from gossipfl.training import Nodes
from sims.compiler.mail import Mail
from sims.rows.forms import RowForm, rounding_keys
from sims.rows.packing import Packing
from sims.world import World
from sims.world.receipts import Arrivals, Receipts

__all__ = ["Learning"]


class Learning:
    """What nodes learn; when things happen is `sims.compiler.reference.Reference`'s.

    Parameters
    ----------
    world : World
    nodes : int
    receipts : Receipts, optional
        Unless messages are merged as they were sent.
    seconds : callable
        Simulated time.
    """

    def __init__(
        self, world: World, nodes: int, receipts: Receipts | None, seconds: Callable[[], float]
    ) -> None:
        self.world, self.receipts, self._seconds = world, receipts, seconds
        self.algorithm = world.message_algorithm
        self.form, first = RowForm.of(world.scenario.engine), world.first_nodes()
        self.packing = Packing.of(first, self.algorithm.behaviour.carries)
        first = self.rounded(first, None)
        self.models = [_one(first, i if len(first) > 1 else 0) for i in range(nodes)]
        self.versions = [0] * nodes
        self.lies = None if receipts is None else receipts.lies
        self.told: dict[int, tuple[Tensor, Tensor]] = {}
        for node in range(nodes):
            self.lie(node)

    def on_clock(self, node: int) -> None:
        """Let a node act on its clock."""
        after = on_clock(
            self.algorithm,
            self.models[node],
            shared_size=self.world.layout.shared_size,
            update=lambda nodes: self.train(nodes, node),
        )
        self.change(node, after)

    def mail(self, node: int, receiver: int, part: int) -> Mail:
        """A node's model as it is now, or what it says in its place."""
        size, number = self.world.layout.shared_size, torch.tensor([part])
        message = self.algorithm.emit(self.models[node], shared_size=size, part=number)
        is_lie = node in self.told and bool(self.world.honest[receiver])
        if is_lie:
            row, ages = self.told[node]
            message = replace(message, shared=row, ages=ages)
        if self.receipts is None:
            keys = receipt_keys(number, torch.tensor([receiver]))
            message = as_received(message, self.world.message_outgoing, Draws(keys=keys))
        return Mail(message=message, sender=node, version=self.versions[node], part=part, is_lie=is_lie)

    def take_in(self, node: int, mail: Mail, *, trains: bool = False) -> None:
        """Take in a model, as far as it is let in; and train, if it came to be trained on."""
        message, sets_pace = self.let_in(node, mail)
        if message is None:
            return

        def update(nodes: Nodes) -> Nodes:
            return self.train(nodes, node) if trains and sets_pace else nodes

        self.change(node, on_receipt(self.algorithm, self.models[node], message, update=update))

    def take_in_answer(self, node: int, mail: Mail, begun: Nodes) -> None:
        """Take in an answer, as far as it is let in, with the version that was sent for it."""
        message, _ = self.let_in(node, mail)
        if message is not None:
            after = on_answer(
                self.algorithm,
                self.models[node],
                message,
                begun,
                update=lambda nodes: self.train(nodes, node),
            )
            self.change(node, after)

    def let_in(self, node: int, mail: Mail) -> tuple[Message | None, bool]:
        """A message as it is merged, None if it is refused; and whether it may set the pace of training."""
        if self.receipts is None:
            return mail.message, True
        received = self.receipts(
            self.models[node],
            mail.message,
            Arrivals(
                receivers=np.array([node]),
                senders=np.array([mail.sender]),
                versions=np.array([mail.version]),
                are_answers=np.array([mail.is_answer]),
                seconds=self.now,
                parts=np.array([mail.part]),
                are_lies=np.array([mail.is_lie]),
            ),
        )
        return received.message if received.is_merged[0] else None, bool(received.is_trained_on[0])

    def change(self, node: int, after: Nodes) -> None:
        """Give a node another model, rounded if models are kept in few bits."""
        self.models[node] = self.rounded(after, node)
        self.versions[node] += 1
        self.lie(node)

    def rounded(self, nodes: Nodes, node: int | None) -> Nodes:
        """Nodes as they are kept; first models, of no node, are rounded to nearest."""
        if self.form is None:
            return nodes
        rows, kept = self.packing.pack(nodes)
        keys = None
        if node is not None:
            seed = self.world.scenario.seed
            keys = rounding_keys(torch.tensor([node]), nodes.ages, nodes.steps, seed=seed)
        read = self.form.read(*self.form.write(rows, keys), width=rows.shape[1])
        return self.packing.unpack(read, kept, ages=nodes.ages, steps=nodes.steps)

    def lie(self, node: int) -> None:
        """Let a hostile node make a lie of its model, if the attack has begun."""
        of_node, seconds = np.array([node]), self.now
        if self.lies is not None and self.lies.changed(of_node, seconds)[0]:
            model = self.models[node]
            shared = model.rows[:, : self.world.layout.shared_size]
            self.told[node] = self.lies.told(of_node, shared, model.ages)

    def train(self, nodes: Nodes, owner: int) -> Nodes:
        """Local training of one row on its owner's samples."""
        is_idle = self.lies is not None and bool(self.lies.are_idle(np.array([owner]), self.now)[0])
        if is_idle or not self.world.scenario.training.enabled:
            return nodes
        return self.world.trainer.train(nodes, np.array([owner]))[0]

    @property
    def now(self) -> NDArray[np.float64]:
        """The time in seconds, float64 ``[1]``."""
        return np.array([self._seconds()])


def _one(nodes: Nodes, index: int) -> Nodes:
    """One of several nodes, with all it keeps."""
    one = slice(index, index + 1)
    auxiliary = {name: kept[one] for name, kept in nodes.auxiliary.items()}
    return replace(nodes.select(one), rows=nodes.rows[one].clone(), auxiliary=auxiliary)
