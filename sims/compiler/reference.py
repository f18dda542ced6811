"""The reference executor: message-driven learning, one event at a time.

This module defines what a simulation means. It is plain and slow: a heap of pending events, one node touched
at a time, every model a row of its own. The compiled path (`sims.compiler` and `sims.engine`)
must give the same rows.

In short. A node's clock rings once a period. If the node is online then, it sends its model to a random
neighbour (push), asks one for its model (pull), or both (push-pull); with token accounts it may bank a token
instead. A message carries the model as it was when it was sent. It may be lost, takes its delay, and counts for
nothing if on arrival the receiver is away or on the other side of a split. A receiver that is asked answers with
its model as it was before taking in what came with the question. What is computed is the algorithm's: on
receipt, on the clock, or on an answer. Of events at the same instant, deliveries come before all others, and
otherwise what was scheduled first comes first.

Where nodes train on receipt and training takes time, models wait for one another. Where nodes train on the clock
or on answers, they send when what they began is done, and do not hear their clocks before; what waited for a
message that is lost is lost with it. Where lost models are returned, a sender keeps what it sent until the
receiver has it, and takes in what was lost, or found nobody, itself, even while it is offline; it is told when
the message would have arrived.

With a gate, what is merged of a message is up to the receiver's (`sims.world.receipts`): a refused model changes
nothing, and one that must not set the pace of training is merged without any. Hostile nodes send lies, made when
their models change (`sims.world.lies`), to honest ones; free riders do not train.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.algorithms import Message
from gossipfl.training import Nodes
from sims.compiler.learning import Learning
from sims.compiler.mail import Mail
from sims.compiler.presence import Presence
from sims.compiler.timeline import TICKS_PER_SECOND, conditions, laws
from sims.compiler.timeline.conditions import Conditions
from sims.world import World
from sims.world.receipts import Receipts

__all__ = ["Reference"]


class Reference:
    """Runs a scenario one event at a time.

    Parameters
    ----------
    world : World
        Task, samples and training; its scenario's algorithm must be message-driven.
    conditions : Conditions
        Clocks, links and churn.
    receipts : Receipts, optional
        Unless messages are merged as they were sent.
    """

    def __init__(self, world: World, conditions: Conditions, receipts: Receipts | None = None) -> None:
        self.conditions, n = conditions, conditions.n
        self.behaviour = world.message_algorithm.behaviour
        self.wakes, self.sent, self.received, self.uplink_free, self.busy_until = ([0] * n for _ in range(5))
        self.tokens = [[0] * conditions.accounts for _ in range(n)]
        self.counts = dict.fromkeys(("sent", "requests", "lost", "unreachable", "delivered"), 0)
        self.pending: list[tuple[int, bool, int, Callable[..., None], tuple[object, ...]]] = []
        self.scheduled = 0
        self.now = 0
        self.learning = Learning(world, n, receipts, seconds=lambda: self.now / TICKS_PER_SECOND)
        self.presence = Presence(conditions, at=self.at, now=lambda: self.now)
        self.begin()

    def run(self, until: int) -> Tensor:
        """Let everything happen up to and including time ``until`` (ticks); all rows then, ``[N, D]``."""
        while self.pending and self.pending[0][0] <= until:
            self.now, _, _, happen, arguments = heapq.heappop(self.pending)
            happen(*arguments)
        return torch.cat([model.rows for model in self.models])

    @property
    def models(self) -> list[Nodes]:
        """Models of all nodes."""
        return self.learning.models

    @property
    def receipts(self) -> Receipts | None:
        """What becomes of messages that arrive."""
        return self.learning.receipts

    @property
    def away(self) -> NDArray[np.uint8]:
        """Who is away, ``[N]``."""
        return self.presence.away

    def at(self, time: int, happen: Callable[..., None], *arguments: object, delivery: bool = False) -> None:
        """Schedule an event."""
        heapq.heappush(self.pending, (time, not delivery, self.scheduled, happen, arguments))
        self.scheduled += 1

    def begin(self) -> None:
        """Schedule what is known at the start."""
        c = self.conditions
        self.presence.begin()
        for node in range(c.n):
            self.presence.begin_node(node)
            self.at(laws.first_wake(c, node), self.wake, node)

    # Clocks and messages

    def wake(self, node: int) -> None:
        """A node's clock rings."""
        c, wakes = self.conditions, self.wakes[node]
        self.wakes[node] += 1
        self.at(self.now + laws.next_period(c, node, wakes), self.wake, node)
        if c.cycle_offline > 0:
            self.presence.set_away(node, "offline", away=laws.is_absent_this_cycle(c, node, wakes))
        if self.away[node]:
            return
        if self.behaviour.trains != "receipt":
            self.start_training(node)
            return
        part = laws.part_of_message(c, node, self.sent[node])
        account = part if c.sharing == conditions.PARTITIONED else 0
        if laws.sends_proactively(c, node, wakes, self.tokens[node][account]):
            self.send(node, part)
        else:
            self.tokens[node][account] += 1

    def send(self, node: int, part: int, begun: Nodes | None = None) -> None:
        """Push to a random neighbour, ask it for its model, or both; who trains on the clock does so first."""
        c, number = self.conditions, self.sent[node]
        other = laws.neighbour(c, node, number, self.away)
        if other < 0:
            return
        if self.behaviour.trains == "clock":
            self.learning.on_clock(node)
        if c.exchange != conditions.PULL:
            asks = c.exchange == conditions.PUSH_PULL
            arrives = partial(self.question_arrives, part) if asks else self.model_arrives
            self.transmit(node, other, arrives, part, begun)
            return
        self.sent[node] += 1
        self.counts["requests"] += 1
        if laws.is_lost(c, node, number):
            self.counts["lost"] += 1
        else:
            arrival = self.now + laws.delay(c, node, other, number)
            self.at(arrival, self.request_arrives, other, node, part, begun, delivery=True)

    def transmit(
        self, sender: int, receiver: int, arrives: Callable[..., None], part: int, begun: Nodes | None
    ) -> None:
        """Put a model on its way; one that is lost may come back when it would have arrived."""
        c, number = self.conditions, self.sent[sender]
        self.sent[sender] += 1
        self.counts["sent"] += 1
        begins = max(self.now, self.uplink_free[sender])
        departs = begins + laws.transmission(c, sender, receiver, begins)
        self.uplink_free[sender] = departs
        arrival = departs + laws.delay(c, sender, receiver, number)
        mail = self.learning.mail(sender, receiver, part)
        if not laws.is_lost(c, sender, number):
            self.at(arrival, arrives, receiver, mail, begun, delivery=True)
            return
        self.counts["lost"] += 1
        if self.behaviour.lost == "returned":
            self.at(arrival, self.learning.take_in, sender, mail, delivery=True)

    def reachable(self, node: int, sender: int) -> bool:
        """Whether what the sender sent reaches the node now."""
        reached = not self.away[node] and self.presence.island[node] == self.presence.island[sender]
        self.counts["unreachable"] += not reached
        return reached

    def request_arrives(self, node: int, sender: int, part: int, begun: Nodes | None) -> None:
        """A request for a model arrives."""
        if self.reachable(node, sender):
            self.transmit(node, sender, self.answer_arrives, part, begun)

    def question_arrives(self, part: int, node: int, mail: Mail, begun: Nodes | None) -> None:
        """A model arrives whose sender wants one back."""
        if self.delivered(node, mail):
            self.transmit(node, mail.sender, self.answer_arrives, part, begun)
            self.receive(node, mail)

    def model_arrives(self, node: int, mail: Mail, begun: Nodes | None) -> None:
        """A model arrives that nobody asked for."""
        del begun
        if self.delivered(node, mail):
            self.receive(node, mail)

    def answer_arrives(self, node: int, mail: Mail, begun: Nodes | None) -> None:
        """A model arrives that was asked for."""
        if not self.delivered(node, mail):
            return
        mail = replace(mail, is_answer=True)
        if begun is None:
            self.receive(node, mail)
            return
        self.learning.take_in_answer(node, mail, begun)

    def delivered(self, node: int, mail: Mail) -> bool:
        """Whether a model reaches the node now; one that does not may come back to its sender."""
        reached = self.reachable(node, mail.sender)
        self.counts["delivered"] += reached
        if not reached and self.behaviour.lost == "returned":
            self.learning.take_in(mail.sender, mail)
        return reached

    def receive(self, node: int, mail: Mail) -> None:
        """Take in a model: now or, where nodes train on receipt and that takes time, in its turn."""
        if self.behaviour.trains != "receipt":
            self.learning.take_in(node, mail)
        elif self.conditions.step == 0:
            self.train_on(node, mail)
        else:
            done = max(self.now, self.busy_until[node]) + self.conditions.step
            self.busy_until[node] = done
            self.at(done, self.training_done, node, mail, delivery=True)

    def training_done(self, node: int, mail: Mail) -> None:
        """A node has worked through a model that arrived earlier."""
        if self.away[node]:
            self.counts["unreachable"] += 1
        else:
            self.train_on(node, mail)

    def train_on(self, node: int, mail: Mail) -> None:
        """Train on a model that was received, and answer with models of one's own as far as tokens go."""
        c = self.conditions
        part = self.part_of(mail.message)
        account = part if c.sharing == conditions.PARTITIONED else 0
        received, own = mail.message.ages.view(-1)[account], self.learning.models[node].ages.view(-1)[account]
        is_useful = not c.compares_ages or bool(received >= own)
        self.learning.take_in(node, mail, trains=True)
        answers = laws.reactive_messages(c, node, self.received[node], self.tokens[node][account], is_useful)
        self.received[node] += 1
        self.tokens[node][account] -= answers
        for _ in range(answers):
            self.send(
                node,
                part
                if c.sharing == conditions.PARTITIONED
                else laws.part_of_message(c, node, self.sent[node]),
            )

    @staticmethod
    def part_of(message: Message) -> int:
        """Number of the part of a model that a message carries."""
        return 0 if message.part is None else int(message.part[0])

    # Training by the clock

    def start_training(self, node: int) -> None:
        """Begin a step, unless still at one."""
        if self.busy_until[node] > self.now:
            return
        self.busy_until[node] = self.now + self.conditions.step
        begun = self.learning.models[node] if self.behaviour.trains == "answer" else None
        if self.conditions.step:
            self.at(self.busy_until[node], self.training_ends, node, begun, delivery=True)
        else:
            self.training_ends(node, begun)

    def training_ends(self, node: int, begun: Nodes | None) -> None:
        """Send, if there still is somebody to."""
        if not self.away[node]:
            self.send(node, laws.part_of_message(self.conditions, node, self.sent[node]), begun)
