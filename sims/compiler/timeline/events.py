"""The event loop of a network without models: clocks ring, messages travel, nodes come and go.

What it means is defined, one event at a time, by `sims.compiler.reference`; here it is compiled. It
writes what the engine has to do as operations (`sims.compiler.operations`), in order of time.
"""

from __future__ import annotations

from numba import njit

from sims.compiler.announcement import announce
from sims.compiler.operations import ARRIVAL, EMIT, ON_ANSWER, ON_CLOCK, ON_RECEIPT
from sims.compiler.timeline import conditions, draws, laws, states
from sims.compiler.timeline.calendar import Calendar, free_events, insert, is_due, pop
from sims.compiler.timeline.compiled import compiled
from sims.compiler.timeline.conditions import Conditions
from sims.compiler.timeline.draws import below, uniform
from sims.compiler.timeline.states import NodeStates, Operations, set_away, transmit, write

__all__ = ["FINISHED", "FULL", "NEEDS_ROOM", "advance", "begin", "event_loop_was_compiled"]

FINISHED, FULL, NEEDS_ROOM = range(3)


@njit(cache=True)
def begin(c: Conditions, q: Calendar, s: NodeStates) -> None:
    """Schedule what is known at the start; the calendar must have room for twice ``n`` events and two."""
    s.counts[states.ONLINE] = c.n
    for node in range(c.n - c.joining, c.n):
        set_away(s, node, states.NOT_JOINED, True)
    if len(c.plan_times):
        insert(q, 2 * c.plan_times[0] + 1, states.PLANNED, 0, 0, 0, 0)
    for node in range(c.n):
        if c.starts_offline:
            set_away(s, node, states.OFFLINE, True)
        if c.sessions:
            online, end = laws.first_session(c, node)
            set_away(s, node, states.OFFLINE, not online)
            insert(q, 2 * end + 1, states.SESSION, node, 0, 0, 0)
        insert(q, 2 * laws.first_wake(c, node) + 1, states.WAKE, node, 0, 0, 0)


@compiled
def _send(
    c: Conditions, q: Calendar, s: NodeStates, o: Operations, node: int, part: int, begun: int, now: int
) -> None:
    """Choose a neighbour, and push to it, ask it, or both; who trains on the clock changes just before."""
    number = s.sent[node]
    other = laws.neighbour(c, node, number, s.away)
    if other < 0:
        return
    if c.trains == ON_CLOCK:
        write(s, o, ON_CLOCK, node, 0, 0, now)
    if c.exchange != conditions.PULL:
        kind = states.QUESTION if c.exchange == conditions.PUSH_PULL else states.MODEL
        transmit(c, q, s, o, kind, node, other, part, begun, now)
        return
    s.sent[node] += 1
    s.counts[states.REQUESTS] += 1
    if laws.is_lost(c, node, number):
        s.counts[states.LOST] += 1
        return
    event = insert(q, 2 * (now + laws.delay(c, node, other, number)), states.REQUEST, other, node, 0, part)
    if c.trains == ON_ANSWER:
        q.begun[event] = begun


@compiled
def _wake(c: Conditions, q: Calendar, s: NodeStates, o: Operations, node: int, now: int) -> None:
    wakes = s.wakes[node]
    s.wakes[node] += 1
    insert(q, 2 * (now + laws.next_period(c, node, wakes)) + 1, states.WAKE, node, 0, 0, 0)
    if c.cycle_offline > 0.0:
        set_away(s, node, states.OFFLINE, laws.is_absent_this_cycle(c, node, wakes))
    if s.away[node]:
        return
    if c.trains != ON_RECEIPT:
        _start_training(c, q, s, o, node, now)
        return
    part = laws.part_of_message(c, node, s.sent[node])
    account = states.account(c, node, part)
    if laws.sends_proactively(c, node, wakes, s.tokens[account]):
        _send(c, q, s, o, node, part, 0, now)
    else:
        s.tokens[account] += 1


@compiled
def _start_training(c: Conditions, q: Calendar, s: NodeStates, o: Operations, node: int, now: int) -> None:
    """Train by the clock, and send when that is done; a clock that rings meanwhile is not heard."""
    if s.busy_until[node] > now:
        return
    s.busy_until[node] = now + c.step
    begun = write(s, o, EMIT, node, 0, 0, now) if c.trains == ON_ANSWER else 0
    if c.step == 0:
        _send(c, q, s, o, node, laws.part_of_message(c, node, s.sent[node]), begun, now)
        return
    event = insert(q, 2 * (now + c.step), states.TRAINED, node, 0, 0, 0)
    if c.trains == ON_ANSWER:
        q.begun[event] = begun


@compiled
def _grow_older(c: Conditions, s: NodeStates, node: int, account: int, age: int) -> None:
    """Let a node merge a model of this age, and train."""
    s.ages[account] = age if c.takes_ages else max(age, s.ages[account])
    if c.sharing == conditions.PARTITIONED:
        for place in range(node * c.parts, (node + 1) * c.parts):
            s.ages[place] += c.trained_steps
    else:
        s.ages[account] += c.trained_steps


@compiled
def _receive(
    c: Conditions,
    q: Calendar,
    s: NodeStates,
    o: Operations,
    node: int,
    peer: int,
    ref: int,
    part: int,
    age: int,
    now: int,
) -> None:
    """Train on a model that arrived, and send as far as tokens go."""
    o.peer[write(s, o, ON_RECEIPT, node, ref, part, now)] = peer
    received = s.received[node]
    s.received[node] += 1
    account = states.account(c, node, part)
    is_useful = not c.compares_ages or age >= s.ages[account]
    if c.compares_ages:
        _grow_older(c, s, node, account, age)
    answers = laws.reactive_messages(c, node, received, s.tokens[account], is_useful)
    s.tokens[account] -= answers
    for _ in range(answers):
        own = part if c.sharing == conditions.PARTITIONED else laws.part_of_message(c, node, s.sent[node])
        _send(c, q, s, o, node, own, 0, now)


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
    begun: int,
    age: int,
    now: int,
) -> None:
    if kind == states.RETURNED:
        o.peer[write(s, o, ON_RECEIPT, sender, ref, part, now)] = sender
        return
    if s.away[node] or s.island[node] != s.island[sender]:
        s.counts[states.UNREACHABLE] += 1
        if c.returns and kind != states.REQUEST:
            o.peer[write(s, o, ON_RECEIPT, sender, ref, part, now)] = sender
        return
    if kind == states.REQUEST:
        transmit(c, q, s, o, states.ANSWER, node, sender, part, begun, now)
        return
    s.counts[states.DELIVERED] += 1
    if kind == states.QUESTION:
        transmit(c, q, s, o, states.ANSWER, node, sender, part, begun, now)
    peer = -1 - sender if kind == states.ANSWER else sender
    if c.trains == ON_ANSWER and kind == states.ANSWER:
        place = write(s, o, ON_ANSWER, node, ref, part, now)
        o.begun[place], o.peer[place] = begun, peer
        return
    if c.trains != ON_RECEIPT:
        o.peer[write(s, o, ON_RECEIPT, node, ref, part, now)] = peer
        return
    if c.step == 0:
        _receive(c, q, s, o, node, peer, ref, part, age, now)
        return
    if c.notes_arrivals:
        write(s, o, ARRIVAL, node, ref, part, now)
    done = max(now, s.busy_until[node]) + c.step
    s.busy_until[node] = done
    q.age[insert(q, 2 * done, states.DONE, node, peer, ref, part)] = age


@compiled
def _planned(c: Conditions, q: Calendar, s: NodeStates, index: int) -> None:
    if index + 1 < len(c.plan_times):
        insert(q, 2 * c.plan_times[index + 1] + 1, states.PLANNED, index + 1, 0, 0, 0)
    action, value = c.plan_actions[index], c.plan_values[index]
    if action in (conditions.COMES, conditions.GOES):
        set_away(s, int(value), states.OFFLINE, action == conditions.GOES)
    elif action == conditions.JOIN:
        for _ in range(int(value)):
            set_away(s, c.n - c.joining + s.counts[states.JOINED], states.NOT_JOINED, False)
            s.counts[states.JOINED] += 1
    else:
        for node in range(c.n):
            if action == conditions.DROP:
                if uniform(c.seed, draws.PLAN, node, index) < value:
                    set_away(s, node, states.DROPPED, True)
            elif action == conditions.RETURN:
                set_away(s, node, states.DROPPED, False)
            elif action == conditions.SPLIT:
                s.island[node] = below(c.seed, draws.PLAN, node, index, int(value))
            elif action == conditions.HEAL:
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
        if s.counts[states.WRITTEN] + most > len(o.kind):
            return FULL
        event = pop(q)
        kind, node, now = -1 - q.kind[event], q.node[event], q.key[event] >> 1
        sender, ref, part = q.peer[event], q.ref[event], q.part[event]
        begun = q.begun[event] if c.trains == ON_ANSWER else 0
        age = q.age[event] if c.compares_ages else 0
        if kind == states.WAKE:
            _wake(c, q, s, o, node, now)
        elif kind == states.SESSION:
            online = (s.away[node] & states.OFFLINE) != 0
            set_away(s, node, states.OFFLINE, not online)
            s.sessions[node] += 1
            length = laws.session_length(c, node, s.sessions[node], online, now)
            insert(q, 2 * (now + length) + 1, states.SESSION, node, 0, 0, 0)
        elif kind == states.PLANNED:
            _planned(c, q, s, node)
        elif kind == states.DONE:
            if s.away[node] == 0:
                _receive(c, q, s, o, node, sender, ref, part, age, now)
            else:
                s.counts[states.UNREACHABLE] += 1
        elif kind == states.TRAINED:
            if s.away[node] == 0:
                _send(c, q, s, o, node, laws.part_of_message(c, node, s.sent[node]), begun, now)
        else:
            _deliver(c, q, s, o, kind, node, sender, ref, part, begun, age, now)
    return FINISHED


announce(advance, "compiling the event loop, once per installation: about a minute")


def event_loop_was_compiled() -> bool:
    """Whether this process has compiled the event loop, as the first one of an installation does."""
    return bool(sum(advance.stats.cache_misses.values()))
