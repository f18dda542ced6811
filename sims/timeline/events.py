"""The event loop of a network without models: clocks ring, messages travel, nodes come and go.

What it means is defined, one event at a time, by `sims.reference`; here it is compiled. It writes what the
engine has to do as operations, in the order in which they happen:

* EMIT: take a snapshot of a node's model, because a message with it is on its way;
* ABSORB: a node takes in the model of the snapshot ``ref``. Zero or more: the index of the EMIT in the same
  window; negative: ``−1 − slot`` of a snapshot kept from an earlier window.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sims.timeline import laws
from sims.timeline.calendar import Calendar, free_events, insert, is_due, pop
from sims.timeline.compiled import compiled
from sims.timeline.conditions import (
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
from sims.timeline.draws import PLAN, below, uniform

__all__ = ["ABSORB", "EMIT", "FINISHED", "FULL", "NEEDS_ROOM", "NodeStates", "Operations", "advance", "begin"]

EMIT, ABSORB = 0, 1
FINISHED, FULL, NEEDS_ROOM = range(3)

# Kinds of events
_WAKE, _REQUEST, _MODEL, _MODEL_ASKING_BACK, _DONE, _SESSION, _PLANNED = range(7)
# Events that carry a model, and so keep a snapshot alive
CARRYING = (_MODEL, _MODEL_ASKING_BACK, _DONE)
# Why a node is away: bits of `NodeStates.away`
_OFFLINE, _DROPPED, _NOT_JOINED = 1, 2, 4
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
    time: NDArray[np.int64]


@compiled
def _write(s: NodeStates, o: Operations, kind: int, node: int, ref: int, part: int, now: int) -> int:
    place = s.counts[WRITTEN]
    o.kind[place], o.node[place], o.ref[place], o.part[place], o.time[place] = kind, node, ref, part, now
    s.counts[WRITTEN] += 1
    return place


@compiled
def _set_away(s: NodeStates, node: int, bit: int, away: bool) -> None:
    before = s.away[node] == 0
    s.away[node] = (s.away[node] | bit) if away else (s.away[node] & ~bit)
    after = s.away[node] == 0
    s.counts[ONLINE] += int(after) - int(before)


@njit(cache=True)
def begin(c: Conditions, q: Calendar, s: NodeStates) -> None:
    """Schedule what is known at the start; the calendar must have room for twice ``n`` events and two."""
    s.counts[ONLINE] = c.n
    for node in range(c.n - c.joining, c.n):
        _set_away(s, node, _NOT_JOINED, True)
    if len(c.plan_times):
        insert(q, 2 * c.plan_times[0] + 1, _PLANNED, 0, 0, 0, 0)
    for node in range(c.n):
        if c.starts_offline:
            _set_away(s, node, _OFFLINE, True)
        if c.sessions:
            online, end = laws.first_session(c, node)
            _set_away(s, node, _OFFLINE, not online)
            insert(q, 2 * end + 1, _SESSION, node, 0, 0, 0)
        insert(q, 2 * laws.first_wake(c, node) + 1, _WAKE, node, 0, 0, 0)


@compiled
def _transmit(
    c: Conditions,
    q: Calendar,
    s: NodeStates,
    o: Operations,
    kind: int,
    sender: int,
    receiver: int,
    part: int,
    now: int,
) -> None:
    """Put a model on its way, snapshot included; a lost one costs its time on the uplink all the same."""
    number = s.sent[sender]
    s.sent[sender] += 1
    s.counts[SENT] += 1
    departs = max(now, s.uplink_free[sender]) + c.transmit
    s.uplink_free[sender] = departs
    if laws.is_lost(c, sender, number):
        s.counts[LOST] += 1
        return
    ref = _write(s, o, EMIT, sender, 0, 0, now)
    insert(q, 2 * (departs + laws.delay(c, sender, receiver, number)), kind, receiver, sender, ref, part)


@compiled
def _send(c: Conditions, q: Calendar, s: NodeStates, o: Operations, node: int, part: int, now: int) -> None:
    """Choose a neighbour, and push to it, ask it, or both."""
    number = s.sent[node]
    other = laws.neighbour(c, node, number, s.away)
    if other < 0:
        return
    if c.exchange != PULL:
        kind = _MODEL_ASKING_BACK if c.exchange == PUSH_PULL else _MODEL
        _transmit(c, q, s, o, kind, node, other, part, now)
        return
    s.sent[node] += 1
    s.counts[REQUESTS] += 1
    if laws.is_lost(c, node, number):
        s.counts[LOST] += 1
        return
    insert(q, 2 * (now + laws.delay(c, node, other, number)), _REQUEST, other, node, 0, part)


@compiled
def _wake(c: Conditions, q: Calendar, s: NodeStates, o: Operations, node: int, now: int) -> None:
    wakes = s.wakes[node]
    s.wakes[node] += 1
    insert(q, 2 * (now + laws.next_period(c, node, wakes)) + 1, _WAKE, node, 0, 0, 0)
    if c.cycle_offline > 0.0:
        _set_away(s, node, _OFFLINE, laws.is_absent_this_cycle(c, node, wakes))
    if s.away[node]:
        return
    part = laws.part_of_message(c, node, s.sent[node])
    account = node * (c.parts if c.sharing == PARTITIONED else 1) + (part if c.sharing == PARTITIONED else 0)
    if laws.sends_proactively(c, node, wakes, s.tokens[account]):
        _send(c, q, s, o, node, part, now)
    else:
        s.tokens[account] += 1


@compiled
def _absorb(
    c: Conditions, q: Calendar, s: NodeStates, o: Operations, node: int, ref: int, part: int, now: int
) -> None:
    _write(s, o, ABSORB, node, ref, part, now)
    received = s.received[node]
    s.received[node] += 1
    account = node * (c.parts if c.sharing == PARTITIONED else 1) + (part if c.sharing == PARTITIONED else 0)
    answers = laws.reactive_messages(c, node, received, s.tokens[account])
    s.tokens[account] -= answers
    for _ in range(answers):
        own = part if c.sharing == PARTITIONED else laws.part_of_message(c, node, s.sent[node])
        _send(c, q, s, o, node, own, now)


@compiled
def _deliver(
    c: Conditions,
    q: Calendar,
    s: NodeStates,
    o: Operations,
    kind: int,
    node: int,
    sender: int,
    ref: int,
    part: int,
    now: int,
) -> None:
    if s.away[node] or s.island[node] != s.island[sender]:
        s.counts[UNREACHABLE] += 1
        return
    if kind == _REQUEST:
        _transmit(c, q, s, o, _MODEL, node, sender, part, now)
        return
    s.counts[DELIVERED] += 1
    if kind == _MODEL_ASKING_BACK:
        _transmit(c, q, s, o, _MODEL, node, sender, part, now)
    if c.step == 0:
        _absorb(c, q, s, o, node, ref, part, now)
        return
    done = max(now, s.busy_until[node]) + c.step
    s.busy_until[node] = done
    insert(q, 2 * done, _DONE, node, sender, ref, part)


@compiled
def _planned(c: Conditions, q: Calendar, s: NodeStates, index: int) -> None:
    if index + 1 < len(c.plan_times):
        insert(q, 2 * c.plan_times[index + 1] + 1, _PLANNED, index + 1, 0, 0, 0)
    action, value = c.plan_actions[index], c.plan_values[index]
    if action == COMES or action == GOES:  # noqa: PLR1714 - numba compiles no membership in a tuple of globals
        _set_away(s, int(value), _OFFLINE, action == GOES)
    elif action == JOIN:
        for _ in range(int(value)):
            _set_away(s, c.n - c.joining + s.counts[JOINED], _NOT_JOINED, False)
            s.counts[JOINED] += 1
    else:
        for node in range(c.n):
            if action == DROP:
                if uniform(c.seed, PLAN, node, index) < value:
                    _set_away(s, node, _DROPPED, True)
            elif action == RETURN:
                _set_away(s, node, _DROPPED, False)
            elif action == SPLIT:
                s.island[node] = below(c.seed, PLAN, node, index, int(value))
            elif action == HEAL:
                s.island[node] = 0


@njit(cache=True, nogil=True, _nrt=False)
def advance(c: Conditions, q: Calendar, s: NodeStates, o: Operations, until: int) -> int:
    """Let everything happen up to and including time ``until``, in ticks.

    Returns
    -------
    int
        FINISHED; FULL if the operations must be executed first; NEEDS_ROOM if the calendar must grow first.
    """
    most = c.capacity + 3  # a delivery causes at most so many messages
    while is_due(q, 2 * until + 1):
        if free_events(q) < most:
            return NEEDS_ROOM
        if s.counts[WRITTEN] + most > len(o.kind):
            return FULL
        event = pop(q)
        kind, node, now = -1 - q.kind[event], q.node[event], q.key[event] >> 1
        sender, ref, part = q.peer[event], q.ref[event], q.part[event]
        if kind == _WAKE:
            _wake(c, q, s, o, node, now)
        elif kind == _SESSION:
            online = (s.away[node] & _OFFLINE) != 0
            _set_away(s, node, _OFFLINE, not online)
            s.sessions[node] += 1
            length = laws.session_length(c, node, s.sessions[node], online, now)
            insert(q, 2 * (now + length) + 1, _SESSION, node, 0, 0, 0)
        elif kind == _PLANNED:
            _planned(c, q, s, node)
        elif kind == _DONE:
            if s.away[node] == 0:
                _absorb(c, q, s, o, node, ref, part, now)
            else:
                s.counts[UNREACHABLE] += 1
        else:
            _deliver(c, q, s, o, kind, node, sender, ref, part, now)
    return FINISHED
