"""Draws at an event: delays, periods, sessions, neighbours, tokens.

Used by both the compiled timeline and the reference executor, which defines what the draws mean.
"""

from __future__ import annotations

import math

import numpy as np

from gossipfl.algorithms.gossip.flow import reactive_messages as reactive_of_tokens
from gossipfl.algorithms.gossip.flow import sends_proactively as proactive_with_tokens
from sims.compiler.timeline import conditions, draws
from sims.compiler.timeline.arithmetic import exact_sine_turn
from sims.compiler.timeline.compiled import compiled
from sims.compiler.timeline.conditions import Churn, Conditions
from sims.compiler.timeline.draws import below, lognormal, uniform, weibull

__all__ = [
    "delay",
    "first_session",
    "first_wake",
    "is_absent_this_cycle",
    "is_lost",
    "neighbour",
    "next_period",
    "part_of_message",
    "reactive_messages",
    "sends_proactively",
    "session_length",
    "transmission",
]


@compiled
def _whole(x: float) -> int:
    return int(math.floor(x + 0.5))


@compiled
def first_wake(c: Conditions, node: int) -> int:
    """When a node's clock first rings, ticks."""
    if c.together:
        return 0
    return int(math.floor(uniform(c.seed, draws.PHASE, node, 0) * c.periods[node]))


@compiled
def next_period(c: Conditions, node: int, wakes: int) -> int:
    """Ticks from a node's wake-up number ``wakes`` to the next."""
    if c.jitter == 0.0:
        return c.periods[node]
    factor = 1.0 + c.jitter * (2.0 * uniform(c.seed, draws.JITTER, node, wakes) - 1.0)
    return max(1, _whole(factor * c.periods[node]))


@compiled
def is_absent_this_cycle(c: Conditions, node: int, wakes: int) -> bool:
    """Whether a node is offline for the period that starts at its wake-up number ``wakes``."""
    return uniform(c.seed, draws.CYCLE, node, wakes) < c.cycle_offline


@compiled
def neighbour(c: Conditions, node: int, number: int, away: np.ndarray) -> int:
    """The recipient of a node's message ``number``; −1 if there is nobody to choose.

    Uniform among its neighbours, or, with ``choose = "online"``, among those online now.
    """
    if len(c.indices) == 0:  # complete graph
        tries = 64 if c.online_only else 1
        for attempt in range(tries):
            other = below(c.seed, draws.NEIGHBOUR, node, number + (attempt << 40), c.n - 1)
            if other >= node:
                other += 1
            if not c.online_only or away[other] == 0:
                return other
        return -1
    start, end = c.indptr[node], c.indptr[node + 1]
    if not c.online_only:
        if end == start:
            return -1
        return c.indices[start + below(c.seed, draws.NEIGHBOUR, node, number, end - start)]
    online = 0
    for k in range(start, end):
        online += away[c.indices[k]] == 0
    if online == 0:
        return -1
    wanted = below(c.seed, draws.NEIGHBOUR, node, number, online)
    for k in range(start, end):
        if away[c.indices[k]] == 0:
            if wanted == 0:
                return c.indices[k]
            wanted -= 1
    return -1


@compiled
def is_lost(c: Conditions, sender: int, number: int) -> bool:
    """Whether a sender's message ``number`` is lost on its way."""
    return c.loss > 0.0 and uniform(c.seed, draws.LOSS, sender, number) < c.loss


@compiled
def delay(c: Conditions, sender: int, receiver: int, number: int) -> int:
    """Ticks that the sender's message ``number`` travels, its transmission not included."""
    if c.delay_kind == conditions.CONSTANT:
        return int(c.delay_first)
    if c.delay_kind == conditions.UNIFORM:
        u = uniform(c.seed, draws.DELAY, sender, number)
        return _whole(c.delay_first + u * (c.delay_second - c.delay_first))
    if c.delay_kind == conditions.LOGNORMAL:
        return _whole(lognormal(uniform(c.seed, draws.DELAY, sender, number), c.delay_first, c.delay_second))
    return _whole(c.one_way[c.hosts[sender], c.hosts[receiver]])


@compiled
def transmission(c: Conditions, sender: int, receiver: int, begins: int) -> int:
    """Ticks that a message needs to leave, at the speed of its path at the moment at which it begins to."""
    if len(c.uplinks) == 0:
        return c.transmit
    up, down = c.uplinks[sender], c.downlinks[receiver]
    for k in range(len(c.changes)):
        since, until, every, factor = c.changes[k, 0], c.changes[k, 1], c.changes[k, 2], c.changes[k, 3]
        if begins < since:
            continue
        past = begins - since
        if every > 0.0:
            past -= every * math.floor(past / every)
        if past < until - since:
            if c.changes[k, 4 + sender] != 0.0:
                up *= factor
            if c.changes[k, 4 + receiver] != 0.0:
                down *= factor
    speed = min(up, down)
    if len(c.link_hosts) > 0:
        speed = min(speed, c.paths[c.link_hosts[sender], c.link_hosts[receiver]])
    return _whole(c.bits / speed * 1e9)


@compiled
def part_of_message(c: Conditions, sender: int, number: int) -> int:
    """Which part of the model a message carries; for a subsample or other draws, the number they depend on."""
    if c.sharing == conditions.PARTITIONED:
        return below(c.seed, draws.PART, sender, number, c.parts)
    if c.sharing in (conditions.SUBSAMPLED, conditions.DRAWN):
        return below(c.seed, draws.PART, sender, number, 2**31 - 1)
    return 0


_sends_proactively = compiled(proactive_with_tokens)
_reactive_messages = compiled(reactive_of_tokens)


@compiled
def sends_proactively(c: Conditions, node: int, wakes: int, tokens: int) -> bool:
    """Whether a node sends on waking."""
    u = uniform(c.seed, draws.FLOW, node, 2 * wakes)
    return _sends_proactively(c.flow, c.capacity, c.reserve, tokens, u)


@compiled
def reactive_messages(c: Conditions, node: int, received: int, tokens: int, is_useful: bool) -> int:
    """How many messages a node sends on receiving one."""
    u = uniform(c.seed, draws.FLOW, node, 2 * received + 1)
    return _reactive_messages(c.flow, c.reserve, tokens, is_useful, u)


@compiled
def session_length(c: Churn | Conditions, node: int, number: int, online: bool, now: int) -> int:
    """Ticks that a node's session ``number``, which begins now, lasts."""
    u = uniform(c.seed, draws.SESSION, node, number)
    law = c.online_law if online else c.offline_law
    median = c.online_median if online else c.offline_median
    spread = c.online_spread if online else c.offline_spread
    if law == conditions.SESSIONS_LOGNORMAL:
        length = lognormal(u, median, spread)
    else:
        length = median * weibull(u, 1.0, spread) / weibull(0.5, 1.0, spread)
    if not online and c.night > 0.0:
        length *= 1.0 - c.night * exact_sine_turn(now / c.day)
    return max(1, _whole(min(length, 4e18)))


@compiled
def first_session(c: Churn | Conditions, node: int) -> tuple[bool, int]:
    """Whether a node starts online, and when that session ends.

    Online with the share of time the medians give; a uniform part of the first session is over at the start.
    """
    share = c.online_median / (c.online_median + c.offline_median)
    online = uniform(c.seed, draws.SESSION, node, -1) < share
    left = uniform(c.seed, draws.SESSION, node, -2) * session_length(c, node, 0, online, 0)
    return online, max(1, _whole(left))
