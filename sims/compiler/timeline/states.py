"""What the event loop keeps and writes: kinds of operations and events, states of nodes, messages on their way.

An operation is something the engine has to do:

* EMIT: take a snapshot of a node's model, because a message with it is on its way;
* ABSORB: a node takes in the model of the snapshot ``ref``;
* STEP (AD-PSGD): a node takes in the answer ``ref``, and the gradient at its own snapshot ``begun``;
* HALVE (push-sum): a node trains, and takes half off its mass; an EMIT of that half follows.

A reference of zero or more is the index of the EMIT in the same window; a negative one is ``−1 − slot`` of a
snapshot kept from an earlier window.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sims.compiler.timeline import laws
from sims.compiler.timeline.calendar import Calendar, insert
from sims.compiler.timeline.compiled import compiled
from sims.compiler.timeline.conditions import Conditions

__all__ = [
    "ABSORB",
    "ANSWER",
    "CARRYING",
    "CARRYING_BEGUN",
    "DELIVERED",
    "DONE",
    "DROPPED",
    "EMIT",
    "GRADIENT",
    "HALVE",
    "JOINED",
    "LOST",
    "MODEL",
    "MODEL_ASKING_BACK",
    "NOT_JOINED",
    "OFFLINE",
    "ONLINE",
    "OPERATIONS",
    "PLANNED",
    "QUESTION",
    "REQUEST",
    "REQUESTS",
    "SENT",
    "SESSION",
    "SHARE",
    "SHARE_LOST",
    "STEP",
    "TRAINED",
    "UNREACHABLE",
    "WAKE",
    "WRITTEN",
    "NodeStates",
    "Operations",
    "set_away",
    "transmit",
    "write",
]

EMIT, ABSORB, STEP, HALVE = range(4)
OPERATIONS = 4

# Kinds of events
WAKE, REQUEST, MODEL, MODEL_ASKING_BACK, DONE, SESSION, PLANNED = range(7)
# Of AD-PSGD: a gradient is ready; a question with a model, and its answer
GRADIENT, QUESTION, ANSWER = range(7, 10)
# Of push-sum: training is done; a share of a node's mass, and one that is on its way back to its sender
TRAINED, SHARE, SHARE_LOST = range(10, 13)
# Events that carry a model, and so keep a snapshot alive; and those that keep alive where a gradient was begun
CARRYING = (MODEL, MODEL_ASKING_BACK, DONE, QUESTION, ANSWER, SHARE, SHARE_LOST)
CARRYING_BEGUN = (GRADIENT, QUESTION, ANSWER)
# Why a node is away: bits of `NodeStates.away`
OFFLINE, DROPPED, NOT_JOINED = 1, 2, 4
# Places in `NodeStates.counts`
SENT, REQUESTS, LOST, UNREACHABLE, DELIVERED, ONLINE, JOINED, WRITTEN = range(8)


class NodeStates(NamedTuple):
    """What every node's networking side knows, and counts over all."""

    wakes: NDArray[np.int64]
    sent: NDArray[np.int64]
    received: NDArray[np.int64]
    tokens: NDArray[np.int32]
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
def transmit(
    c: Conditions,
    q: Calendar,
    s: NodeStates,
    o: Operations,
    kind: int,
    sender: int,
    receiver: int,
    part: int,
    now: int,
) -> int:
    """Put a model on its way, snapshot included; its event, or −1 if it is lost.

    A lost one costs its time on the uplink all the same; a lost share is back when it would have arrived.
    """
    number = s.sent[sender]
    s.sent[sender] += 1
    s.counts[SENT] += 1
    departs = max(now, s.uplink_free[sender]) + c.transmit
    s.uplink_free[sender] = departs
    if laws.is_lost(c, sender, number):
        s.counts[LOST] += 1
        if kind != SHARE:
            return -1
        kind = SHARE_LOST
    ref = write(s, o, EMIT, sender, 0, 0, now)
    arrives = departs + laws.delay(c, sender, receiver, number)
    return insert(q, 2 * arrives, kind, receiver, sender, ref, part)
