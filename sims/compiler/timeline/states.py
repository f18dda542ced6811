"""States of the event loop: kinds of events, what every node's networking side knows, and operations as written.

A reference of zero or more is the index of the EMIT in the same window; a negative one is ``−1 − slot`` of a
snapshot kept from an earlier window.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sims.compiler.operations import EMIT, ON_ANSWER
from sims.compiler.timeline import laws
from sims.compiler.timeline.calendar import Calendar, insert
from sims.compiler.timeline.compiled import compiled
from sims.compiler.timeline.conditions import PARTITIONED, Conditions

__all__ = ["NodeStates", "Operations", "account", "set_away", "transmit", "write"]

# Kinds of events. A QUESTION is a model whose receiver answers with its own; REQUEST asks without one. DONE: a
# model that arrived earlier has been trained. TRAINED: what a node began when its clock rang is done. RETURNED:
# a lost model is back at its sender.
WAKE, REQUEST, MODEL, QUESTION, DONE, SESSION, PLANNED, TRAINED, ANSWER, RETURNED = range(10)
# Events that carry a model, and so keep a snapshot alive; and those that keep alive where a step was begun, if
# any was
CARRYING = (MODEL, QUESTION, DONE, ANSWER, RETURNED)
CARRYING_BEGUN = (TRAINED, REQUEST, QUESTION, ANSWER)
# Why a node is away: bits of `NodeStates.away`
OFFLINE, DROPPED, NOT_JOINED = 1, 2, 4
# Places in `NodeStates.counts`
SENT, REQUESTS, LOST, UNREACHABLE, DELIVERED, ONLINE, JOINED, WRITTEN = range(8)
COUNTED = ("sent", "requests", "lost", "unreachable", "delivered")


class NodeStates(NamedTuple):
    """What every node's networking side knows, and counts over all."""

    wakes: NDArray[np.int64]
    sent: NDArray[np.int64]
    received: NDArray[np.int64]
    tokens: NDArray[np.int32]
    ages: NDArray[np.int64]
    uplink_free: NDArray[np.int64]
    busy_until: NDArray[np.int64]
    sessions: NDArray[np.int64]
    away: NDArray[np.uint8]
    island: NDArray[np.uint8]
    counts: NDArray[np.int64]


class Operations(NamedTuple):
    """Operations of a window, struct of arrays; the first ``counts[WRITTEN]`` are filled."""

    kind: NDArray[np.uint8]
    node: NDArray[np.int32]
    ref: NDArray[np.int64]
    part: NDArray[np.int32]
    begun: NDArray[np.int64]
    peer: NDArray[np.int32]
    time: NDArray[np.int64]


@compiled
def write(s: NodeStates, o: Operations, kind: int, node: int, ref: int, part: int, now: int) -> int:
    """Write an operation down, and return its index in the window."""
    place = s.counts[WRITTEN]
    o.kind[place], o.node[place], o.ref[place], o.part[place], o.time[place] = kind, node, ref, part, now
    s.counts[WRITTEN] += 1
    return place


@compiled
def set_away(s: NodeStates, node: int, bit: int, away: bool) -> None:
    """Note that a node is away for a reason, or no longer for that one."""
    before = s.away[node] == 0
    s.away[node] = (s.away[node] | bit) if away else (s.away[node] & ~bit)
    after = s.away[node] == 0
    s.counts[ONLINE] += int(after) - int(before)


@compiled
def account(c: Conditions, node: int, part: int) -> int:
    """Which token account a model with this part draws on, and which age it has."""
    return node * c.parts + part if c.sharing == PARTITIONED else node


@compiled
def transmit(
    c: Conditions,
    q: Calendar,
    s: NodeStates,
    o: Operations,
    kind: int,
    sender: int,
    receiver: int,
    part: int,
    begun: int,
    now: int,
) -> None:
    """Put a model on its way, snapshot included; ``begun`` goes along where nodes train on answers.

    A lost one costs its time on the uplink all the same, and is back, if at all, when it would have arrived.
    """
    number = s.sent[sender]
    s.sent[sender] += 1
    s.counts[SENT] += 1
    begins = max(now, s.uplink_free[sender])
    departs = begins + laws.transmission(c, sender, receiver, begins)
    s.uplink_free[sender] = departs
    if laws.is_lost(c, sender, number):
        s.counts[LOST] += 1
        if not c.returns:
            return
        kind = RETURNED
    ref = write(s, o, EMIT, sender, 0, 0, now)
    arrives = departs + laws.delay(c, sender, receiver, number)
    event = insert(q, 2 * arrives, kind, receiver, sender, ref, part)
    if c.compares_ages:
        q.age[event] = s.ages[account(c, sender, part)]
    if c.trains == ON_ANSWER:
        q.begun[event] = begun
