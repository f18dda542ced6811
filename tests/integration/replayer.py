"""Replays recorded peers, one event at a time, with nothing but their homes and the public pieces that learn.

An event is named by (peer id, incarnation, event). Training alone needs the peer's own state before; a merge
also the sender's state that its message came from; the first state of an incarnation is the saved state it
resumed from. That is a partial order, and any order that respects it gives the same rows.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from gossipfl.algorithms import GossipLearning, Message
from gossipfl.codecs import codec, message_key
from gossipfl.peer import Home
from gossipfl.settings import PeerSettings
from gossipfl.tasks import Task, find_task
from gossipfl.training import NodeData, Nodes, Trainer

from .peers import record_lines

OWN = np.zeros(1, dtype=np.int64)
Name = tuple[str, int, int]


@dataclass(frozen=True)
class Start:
    """One start of a peer: how it learns, and from which of its own states it went on."""

    task: Task
    trainer: Trainer
    algorithm: GossipLearning
    resumed: Name | None

    @classmethod
    def of(cls, record):
        settings = PeerSettings.model_validate_json(record["settings"])
        task = find_task(settings.task.name, settings.task.options)
        assert task.fingerprint.hex() == record["task"]
        assert task.layout.digest.hex() == record["layout"]
        data = task.data()
        own = NodeData.of_one_node(data.train_inputs, data.train_targets, number=record["number"])
        resumed = None
        if record["resumed_from"] is not None:
            resumed = (record["peer"], record["resumed_from"], record["event"])
        algorithm = GossipLearning(**settings.gossip.parameters)
        return cls(task, Trainer.of(task, own, settings.training), algorithm, resumed)


def replay(
    homes: list[Home],
    *,
    until: float = math.inf,
    of_strangers: Callable[[dict], Nodes] | None = None,
) -> dict[Name, Nodes]:
    """Compute the state after every event that any of the peers recorded until a moment.

    States of senders that left no records come from ``of_strangers``, by the record of the merge.
    """
    peers = {record_lines(home)[0]["peer"] for home in homes}
    starts: dict[tuple[str, int], Start] = {}
    events: dict[Name, dict] = {}
    states: dict[Name, Nodes] = {}
    for home in homes:
        for record in record_lines(home):
            if record["time"] > until:
                break
            if of_strangers and record.get("sender", home) not in {home, *peers}:
                name = (record["sender"], record["sender_incarnation"], record["sender_event"])
                states[name] = of_strangers(record)
            if record["kind"] == "start":
                peer = record["peer"]
                start = starts[peer, record["incarnation"]] = Start.of(record)
                if start.resumed is None:
                    row = start.task.initial_row(record["number"])[None]
                    first = Nodes.start(row, optimiser_state_size=start.trainer.optimiser_state_size)
                    states[peer, record["incarnation"], record["event"]] = first
                else:
                    events[peer, record["incarnation"], record["event"]] = {"kind": "resume"}
            elif record["kind"] in ("merge", "train", "adopt", "go_back"):
                events[peer, record["incarnation"], record["event"]] = record
    while events:
        ready = [name for name in events if all(each in states for each in needs(name, events, starts))]
        assert ready, f"{len(events)} events need states that nobody recorded, such as {next(iter(events))}"
        for name in ready:
            states[name] = outcome(name, events.pop(name), starts[name[:2]], states)
    return states


def needs(name: Name, events, starts) -> list[Name]:
    record = events[name]
    if record["kind"] == "resume":
        return [starts[name[:2]].resumed]
    needed = [(*name[:2], name[2] - 1)]
    if record["kind"] == "go_back":
        needed.append((*name[:2], record["good_event"]))
    elif record["kind"] != "train":
        needed.append((record["sender"], record["sender_incarnation"], record["sender_event"]))
    return needed


def outcome(name: Name, record, start: Start, states) -> Nodes:
    if record["kind"] == "resume":
        return states[start.resumed]
    before = states[*name[:2], name[2] - 1]
    if record["kind"] == "train":
        after = start.trainer.train(before, OWN)[0]
    elif record["kind"] == "go_back":
        good = states[*name[:2], record["good_event"]]
        after = Nodes(
            rows=good.rows, ages=good.ages, steps=before.steps, optimiser_state=0 * good.optimiser_state
        )
    else:
        sender = states[record["sender"], record["sender_incarnation"], record["sender_event"]]
        assert int(sender.ages[0]) == record["sender_age"]
        way, size = codec(record["codec"]), start.task.layout.shared_size
        key = message_key(
            record["sender"], incarnation=record["sender_incarnation"], sequence=record["sender_sequence"]
        )
        sent = way.decode(way.encode(sender.rows[0, :size].clone(), key=key), size)
        message = Message(shared=sent[None].clone(), ages=torch.tensor([record["sender_age"]]))
        if "credited_age" in record:  # the gate drew it nearer, or credited a smaller age
            own, share = before.rows[:, :size], record["share"]
            drawn = message.shared if share == 1 else own + share * (message.shared - own)
            message = Message(shared=drawn, ages=torch.tensor([record["credited_age"]]))
        update = (lambda nodes: start.trainer.train(nodes, OWN)[0]) if record["trained"] else (lambda n: n)
        if record["kind"] == "adopt":
            row = torch.cat([message.shared, before.rows[:, size:]], dim=1)
            after = Nodes(
                rows=row, ages=message.ages, steps=before.steps, optimiser_state=0 * before.optimiser_state
            )
        else:
            after = start.algorithm.on_receipt(before, message, update=update)
    assert (int(after.ages[0]), int(after.steps[0])) == (record["age"], record["step"]), json.dumps(record)
    return replace(after)
