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
from torch import Tensor

from gossipfl.algorithms import Message
from gossipfl.algorithms.author_calls import on_answer, on_clock, on_receipt
from gossipfl.algorithms.in_transit import as_received
from gossipfl.codecs.draws import receipt_keys
from gossipfl.outgoing import Draws
from gossipfl.training import Nodes
from sims.compiler.mail import Mail
from sims.compiler.timeline import TICKS_PER_SECOND, conditions, laws
from sims.compiler.timeline.conditions import Conditions
from sims.compiler.timeline.draws import PLAN, below, uniform
from sims.world import World
from sims.world.receipts import Arrivals, Receipts

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
        self.world, self.conditions, self.receipts = world, conditions, receipts
        self.algorithm, n = world.message_algorithm, conditions.n
        self.behaviour = self.algorithm.behaviour
        first = world.first_nodes()
        self.models = [_one(first, i if len(first) > 1 else 0) for i in range(n)]
        self.wakes, self.sent, self.received, self.sessions, self.versions = ([0] * n for _ in range(5))
        self.uplink_free, self.busy_until, self.island = [0] * n, [0] * n, [0] * n
        self.tokens = [[0] * conditions.accounts for _ in range(n)]
        self.reasons_away: list[set[str]] = [set() for _ in range(n)]
        self.away = np.zeros(n, dtype=np.uint8)
        self.joined = n - conditions.joining
        self.counts = dict.fromkeys(("sent", "requests", "lost", "unreachable", "delivered"), 0)
        self.pending: list[tuple[int, bool, int, Callable[..., None], tuple[object, ...]]] = []
        self.scheduled = 0
        self.now = 0
        self.lies = None if receipts is None else receipts.lies
        self.told: dict[int, tuple[Tensor, Tensor]] = {}
        for node in range(n):
            self.lie(node)
        self.begin()

    def run(self, until: int) -> Tensor:
        """Let everything happen up to and including time ``until`` (ticks); all rows then, ``[N, D]``."""
        while self.pending and self.pending[0][0] <= until:
            self.now, _, _, happen, arguments = heapq.heappop(self.pending)
            happen(*arguments)
        return torch.cat([model.rows for model in self.models])

    def at(self, time: int, happen: Callable[..., None], *arguments: object, delivery: bool = False) -> None:
        """Schedule an event."""
        heapq.heappush(self.pending, (time, not delivery, self.scheduled, happen, arguments))
        self.scheduled += 1

    def begin(self) -> None:
        """Schedule what is known at the start."""
        c = self.conditions
        for node in range(self.joined, c.n):
            self.set_away(node, "not joined", away=True)
        if len(c.plan_times):
            self.at(int(c.plan_times[0]), self.planned, 0)
        for node in range(c.n):
            if c.starts_offline:
                self.set_away(node, "offline", away=True)
            if c.sessions:
                online, end = laws.first_session(c, node)
                self.set_away(node, "offline", away=not online)
                self.at(end, self.session_ends, node)
            self.at(laws.first_wake(c, node), self.wake, node)

    # Clocks and messages

    def wake(self, node: int) -> None:
        """A node's clock rings."""
        c, wakes = self.conditions, self.wakes[node]
        self.wakes[node] += 1
        self.at(self.now + laws.next_period(c, node, wakes), self.wake, node)
        if c.cycle_offline > 0:
            self.set_away(node, "offline", away=laws.is_absent_this_cycle(c, node, wakes))
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
            after = on_clock(
                self.algorithm,
                self.models[node],
                shared_size=self.world.layout.shared_size,
                update=lambda nodes: self.train(nodes, node),
            )
            self.change(node, after)
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
        departs = max(self.now, self.uplink_free[sender]) + c.transmit
        self.uplink_free[sender] = departs
        arrival = departs + laws.delay(c, sender, receiver, number)
        mail = self.mail(sender, receiver, part)
        if not laws.is_lost(c, sender, number):
            self.at(arrival, arrives, receiver, mail, begun, delivery=True)
            return
        self.counts["lost"] += 1
        if self.behaviour.lost == "returned":
            self.at(arrival, self.take_in, sender, mail, delivery=True)

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

    def reachable(self, node: int, sender: int) -> bool:
        """Whether what the sender sent reaches the node now."""
        reached = not self.away[node] and self.island[node] == self.island[sender]
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

    def delivered(self, node: int, mail: Mail) -> bool:
        """Whether a model reaches the node now; one that does not may come back to its sender."""
        reached = self.reachable(node, mail.sender)
        self.counts["delivered"] += reached
        if not reached and self.behaviour.lost == "returned":
            self.take_in(mail.sender, mail)
        return reached

    def receive(self, node: int, mail: Mail) -> None:
        """Take in a model: now or, where nodes train on receipt and that takes time, in its turn."""
        if self.behaviour.trains != "receipt":
            self.take_in(node, mail)
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
        received, own = mail.message.ages.view(-1)[account], self.models[node].ages.view(-1)[account]
        is_useful = not c.compares_ages or bool(received >= own)
        self.take_in(node, mail, trains=True)
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

    def take_in(self, node: int, mail: Mail, *, trains: bool = False) -> None:
        """Take in a model, as far as it is let in; and train where nodes train on receipt."""
        message, sets_pace = self.let_in(node, mail)
        if message is None:
            return

        def update(nodes: Nodes) -> Nodes:
            return self.train(nodes, node) if trains and sets_pace else nodes

        self.change(node, on_receipt(self.algorithm, self.models[node], message, update=update))

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
                seconds=np.array([self.now / TICKS_PER_SECOND]),
                parts=np.array([mail.part]),
                are_lies=np.array([mail.is_lie]),
            ),
        )
        return received.message if received.is_merged[0] else None, bool(received.is_trained_on[0])

    def change(self, node: int, after: Nodes) -> None:
        """Give a node another model."""
        self.models[node] = after
        self.versions[node] += 1
        self.lie(node)

    def lie(self, node: int) -> None:
        """Let a hostile node make a lie of its model, if the attack has begun."""
        of_node, seconds = np.array([node]), np.array([self.now / TICKS_PER_SECOND])
        if self.lies is not None and self.lies.changed(of_node, seconds)[0]:
            model = self.models[node]
            shared = model.rows[:, : self.world.layout.shared_size]
            self.told[node] = self.lies.told(of_node, shared, model.ages)

    @staticmethod
    def part_of(message: Message) -> int:
        """Number of the part of a model that a message carries."""
        return 0 if message.part is None else int(message.part[0])

    def train(self, nodes: Nodes, owner: int) -> Nodes:
        """Local training of one row on its owner's samples."""
        seconds = np.array([self.now / TICKS_PER_SECOND])
        is_idle = self.lies is not None and bool(self.lies.are_idle(np.array([owner]), seconds)[0])
        if is_idle or not self.world.scenario.training.enabled:
            return nodes
        return self.world.trainer.train(nodes, np.array([owner]))[0]

    # Training by the clock

    def start_training(self, node: int) -> None:
        """Begin a step, unless still at one."""
        if self.busy_until[node] > self.now:
            return
        self.busy_until[node] = self.now + self.conditions.step
        begun = self.models[node] if self.behaviour.trains == "answer" else None
        if self.conditions.step:
            self.at(self.busy_until[node], self.training_ends, node, begun, delivery=True)
        else:
            self.training_ends(node, begun)

    def training_ends(self, node: int, begun: Nodes | None) -> None:
        """Send, if there still is somebody to."""
        if not self.away[node]:
            self.send(node, laws.part_of_message(self.conditions, node, self.sent[node]), begun)

    # Coming and going

    def set_away(self, node: int, reason: str, *, away: bool) -> None:
        """A node may be away for several reasons; it is online when none is left."""
        (self.reasons_away[node].add if away else self.reasons_away[node].discard)(reason)
        self.away[node] = bool(self.reasons_away[node])

    def session_ends(self, node: int) -> None:
        """A node goes offline, or comes back."""
        online = "offline" in self.reasons_away[node]
        self.set_away(node, "offline", away=not online)
        self.sessions[node] += 1
        length = laws.session_length(self.conditions, node, self.sessions[node], online, self.now)
        self.at(self.now + length, self.session_ends, node)

    def planned(self, index: int) -> None:
        """A planned event takes place."""
        c = self.conditions
        if index + 1 < len(c.plan_times):
            self.at(int(c.plan_times[index + 1]), self.planned, index + 1)
        action, value = int(c.plan_actions[index]), float(c.plan_values[index])
        if action in (conditions.COMES, conditions.GOES):
            self.set_away(int(value), "offline", away=action == conditions.GOES)
        elif action == conditions.JOIN:
            for node in range(self.joined, self.joined + int(value)):
                self.set_away(node, "not joined", away=False)
            self.joined += int(value)
        for node in range(c.n):
            if action == conditions.DROP and uniform(c.seed, PLAN, node, index) < value:
                self.set_away(node, "dropped", away=True)
            elif action == conditions.RETURN:
                self.set_away(node, "dropped", away=False)
            elif action == conditions.SPLIT:
                self.island[node] = below(c.seed, PLAN, node, index, int(value))
            elif action == conditions.HEAL:
                self.island[node] = 0


def _one(nodes: Nodes, index: int) -> Nodes:
    """One of several nodes, with all it keeps."""
    one = slice(index, index + 1)
    auxiliary = {name: kept[one] for name, kept in nodes.auxiliary.items()}
    return replace(nodes.select(one), rows=nodes.rows[one].clone(), auxiliary=auxiliary)
