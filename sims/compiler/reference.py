"""The reference executor: message-driven learning, one event at a time.

This module defines what a simulation means. It is plain and slow: a heap of pending events, one node touched
at a time, every model a row of its own. The compiled path (`sims.compiler` and `sims.engine`)
must give the same rows.

In short. A node's clock rings once a period. If the node is online then, it sends its model to a random
neighbour (push), asks one for its model (pull), or both (push-pull); with token accounts it may bank a token
instead. A message carries the model as it was when it was sent. It may be lost, takes its delay, and counts for
nothing if on arrival the receiver is away or on the other side of a split. A receiver that is asked answers with
its model as it was before taking in what came with the question. Taking in a model is
`GossipLearning.absorb`, training included; where training takes time, models wait for one another. Of events at
the same instant, deliveries come before all others, and otherwise what was scheduled first comes first.

In AD-PSGD and push-sum it is by their clocks that nodes train, and they send when that is done. What AD-PSGD's
question or answer loses on its way is lost: the node's step with it, or both means. In push-sum nothing may be
lost. A sender keeps what it sent until the receiver has it, and adds what was lost, or found nobody, to its own
mass again, even while it is offline itself; it is told when the message would have arrived.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gossipfl.algorithms import ADPSGD, GossipLearning, Message, PartialGossip, PushSum, Share
from gossipfl.training import Nodes
from sims.compiler.timeline import laws
from sims.compiler.timeline.conditions import (
    COMES,
    DROP,
    GOES,
    HEAL,
    JOIN,
    PARTITIONED,
    PULL,
    PUSH_PULL,
    RETURN,
    SPLIT,
    Conditions,
)
from sims.compiler.timeline.draws import PLAN, below, uniform
from sims.scenario.scenario import MessageDrivenSection
from sims.world import World, message_codec, message_rule

__all__ = ["Reference"]


class Reference:
    """Runs a scenario one event at a time.

    Parameters
    ----------
    world : World
        Task, samples and training; its scenario's algorithm must be message-driven.
    conditions : Conditions
        Clocks, links and churn.
    """

    def __init__(self, world: World, conditions: Conditions) -> None:
        algorithm = world.scenario.algorithm
        assert isinstance(algorithm, MessageDrivenSection)  # noqa: S101 - a programming error, not an input
        self.world, self.conditions = world, conditions
        self.algorithm = message_rule(algorithm)
        n, width = conditions.n, world.trainer.momentum_size
        rows = world.first_rows().expand(n, -1)
        parts = self.algorithm.ages if isinstance(self.algorithm, PartialGossip) else 1
        self.models = [
            Nodes.start(rows[i : i + 1].clone(), momentum_size=width, parts=parts) for i in range(n)
        ]
        if isinstance(self.algorithm, PushSum):
            self.models = [self.algorithm.start(model) for model in self.models]
        self.wakes, self.sent, self.received, self.sessions = ([0] * n for _ in range(4))
        self.uplink_free, self.busy_until, self.island = [0] * n, [0] * n, [0] * n
        self.tokens = [[0] * conditions.accounts for _ in range(n)]
        self.reasons_away: list[set[str]] = [set() for _ in range(n)]
        self.away = np.zeros(n, dtype=np.uint8)
        self.joined = n - conditions.joining
        self.counts = dict.fromkeys(("sent", "requests", "lost", "unreachable", "delivered"), 0)
        self.pending: list[tuple[int, bool, int, Callable[..., None], tuple[object, ...]]] = []
        self.scheduled = 0
        self.now = 0
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
        if isinstance(self.algorithm, ADPSGD | PushSum):
            self.start_training(node)
            return
        part = laws.part_of_message(c, node, self.sent[node])
        account = part if c.sharing == PARTITIONED else 0
        if laws.sends_proactively(c, node, wakes, self.tokens[node][account]):
            self.send(node, part)
        else:
            self.tokens[node][account] += 1

    def send(self, node: int, part: int) -> None:
        """Push to a random neighbour, ask it for its model, or both."""
        c, number = self.conditions, self.sent[node]
        other = laws.neighbour(c, node, number, self.away)
        if other < 0:
            return
        if c.exchange != PULL:
            self.transmit(node, other, part, asks_back=c.exchange == PUSH_PULL)
            return
        self.sent[node] += 1
        self.counts["requests"] += 1
        if laws.is_lost(c, node, number):
            self.counts["lost"] += 1
        else:
            self.at(
                self.now + laws.delay(c, node, other, number), self.asked, other, node, part, delivery=True
            )

    def put_on_its_way(self, sender: int, receiver: int, arrive: Callable[..., None], *what: object) -> bool:
        """Schedule a message's arrival, unless it is lost; `arrival` is when it arrives, or would have."""
        c, number = self.conditions, self.sent[sender]
        self.sent[sender] += 1
        self.counts["sent"] += 1
        departs = max(self.now, self.uplink_free[sender]) + c.transmit
        self.uplink_free[sender] = departs
        self.arrival = departs + laws.delay(c, sender, receiver, number)
        if laws.is_lost(c, sender, number):
            self.counts["lost"] += 1
            return False
        self.at(self.arrival, arrive, receiver, sender, *what, delivery=True)
        return True

    def transmit(self, sender: int, receiver: int, part: int, *, asks_back: bool) -> None:
        """Put a model on its way."""
        self.put_on_its_way(sender, receiver, self.model_arrives, self.message(sender), part, asks_back)

    def message(self, node: int) -> Message:
        """A node's model as it is now, and as its receiver decodes it."""
        model, codec = self.models[node], message_codec(self.world.scenario.algorithm)
        shared = model.rows[:, : self.world.layout.shared_size]
        if codec is not None:
            shared = codec.compress(shared, keys=torch.zeros(1, dtype=torch.int64))
        return Message(shared=shared, ages=model.ages)

    def reachable(self, node: int, sender: int) -> bool:
        """Whether what the sender sent reaches the node now."""
        reached = not self.away[node] and self.island[node] == self.island[sender]
        self.counts["unreachable"] += not reached
        return reached

    def asked(self, node: int, sender: int, part: int) -> None:
        """A request for a model arrives."""
        if self.reachable(node, sender):
            self.transmit(node, sender, part, asks_back=False)

    def model_arrives(self, node: int, sender: int, message: Message, part: int, asks_back: bool) -> None:  # noqa: FBT001
        """A model arrives."""
        if not self.reachable(node, sender):
            return
        self.counts["delivered"] += 1
        if asks_back:
            self.transmit(node, sender, part, asks_back=False)
        if self.conditions.step == 0:
            self.absorb(node, message, part)
            return
        done = max(self.now, self.busy_until[node]) + self.conditions.step
        self.busy_until[node] = done
        self.at(done, self.training_done, node, message, part, delivery=True)

    def training_done(self, node: int, message: Message, part: int) -> None:
        """A node has worked through a model that arrived earlier."""
        if self.away[node]:
            self.counts["unreachable"] += 1
        else:
            self.absorb(node, message, part)

    def absorb(self, node: int, message: Message, part: int) -> None:
        """Take in a model, and answer with models of one's own as far as tokens go."""
        c = self.conditions
        model = self.models[node]

        def update(nodes: Nodes) -> Nodes:
            return self.train(nodes, node)

        if isinstance(self.algorithm, PartialGossip):
            self.models[node] = self.algorithm.absorb(model, message, torch.tensor([part]), update=update)
        elif isinstance(self.algorithm, GossipLearning):
            self.models[node] = self.algorithm.absorb(model, message, update=update)
        account = part if c.sharing == PARTITIONED else 0
        answers = laws.reactive_messages(c, node, self.received[node], self.tokens[node][account])
        self.received[node] += 1
        self.tokens[node][account] -= answers
        for _ in range(answers):
            self.send(
                node, part if c.sharing == PARTITIONED else laws.part_of_message(c, node, self.sent[node])
            )

    def train(self, nodes: Nodes, owner: int) -> Nodes:
        """Local training of one row on its owner's samples."""
        if not self.world.scenario.training.enabled:
            return nodes
        return self.world.trainer.train(nodes, np.array([owner]))[0]

    # AD-PSGD and push-sum

    def start_training(self, node: int) -> None:
        """Train by the clock, unless still at it."""
        if self.busy_until[node] > self.now:
            return
        self.busy_until[node] = self.now + self.conditions.step
        begun = self.models[node]
        if self.conditions.step:
            self.at(self.busy_until[node], self.training_ends, node, begun, delivery=True)
        else:
            self.training_ends(node, begun)

    def training_ends(self, node: int, begun: Nodes) -> None:
        """Write to a random neighbour."""
        rule, other = self.algorithm, laws.neighbour(self.conditions, node, self.sent[node], self.away)
        if self.away[node] or other < 0:
            return
        if isinstance(rule, ADPSGD):
            self.put_on_its_way(node, other, self.question_arrives, self.message(node), begun)
        elif isinstance(rule, PushSum):
            size = self.world.layout.shared_size
            self.models[node] = rule.halve(
                self.models[node], shared_size=size, update=lambda nodes: self.train(nodes, node)
            )
            share = rule.emit(self.models[node], shared_size=size)
            if not self.put_on_its_way(node, other, self.share_arrives, share):
                self.at(self.arrival, self.add, node, share, delivery=True)

    def question_arrives(self, node: int, sender: int, message: Message, begun: Nodes) -> None:
        """AD-PSGD: answer with one's model as it is, and take the mean."""
        if self.reachable(node, sender) and isinstance(self.algorithm, ADPSGD):
            self.counts["delivered"] += 1
            self.put_on_its_way(node, sender, self.answer_arrives, self.message(node), begun)
            self.models[node] = self.algorithm.average(self.models[node], message)

    def answer_arrives(self, node: int, sender: int, message: Message, begun: Nodes) -> None:
        """AD-PSGD: take the mean, and make the step that was begun."""
        if self.reachable(node, sender) and isinstance(self.algorithm, ADPSGD):
            self.counts["delivered"] += 1
            self.models[node] = self.algorithm.step(
                self.models[node], message, begun, update=lambda nodes: self.train(nodes, node)
            )

    def share_arrives(self, node: int, sender: int, share: Share) -> None:
        """Push-sum: the receiver adds what came, or the sender what came back."""
        reached = self.reachable(node, sender)
        self.counts["delivered"] += reached
        self.add(node if reached else sender, share)

    def add(self, node: int, share: Share) -> None:
        """Push-sum: add a share to a node's mass."""
        if isinstance(self.algorithm, PushSum):
            self.models[node] = self.algorithm.absorb(self.models[node], share)

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
        if action in (COMES, GOES):
            self.set_away(int(value), "offline", away=action == GOES)
        elif action == JOIN:
            for node in range(self.joined, self.joined + int(value)):
                self.set_away(node, "not joined", away=False)
            self.joined += int(value)
        for node in range(c.n):
            if action == DROP and uniform(c.seed, PLAN, node, index) < value:
                self.set_away(node, "dropped", away=True)
            elif action == RETURN:
                self.set_away(node, "dropped", away=False)
            elif action == SPLIT:
                self.island[node] = below(c.seed, PLAN, node, index, int(value))
            elif action == HEAL:
                self.island[node] = 0
