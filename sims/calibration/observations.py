"""Clocks, links and sessions of a network as plain numbers, from the records of its peers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sims.replay.lives import Exchange, Life, RecordedPeer

__all__ = ["Observations", "Session", "observe"]

Floats = NDArray[np.float64]

_END_SHARE = 0.05


class Session(NamedTuple):
    """A node was online from ``start`` to ``end``, seconds since the first start of any."""

    node: int
    start: float
    end: float


@dataclass(frozen=True, kw_only=True)
class Observations:
    """All that scenarios are estimated from."""

    seconds: float
    """From the first start of any peer to the last record of any."""
    intervals: list[Floats]
    """For each node, seconds between the starts of consecutive exchanges of the same start of the peer."""
    round_trips: Floats
    """Seconds of exchanges that succeeded."""
    exchanges: int
    """Exchanges started."""
    reachable: int
    """Of them, those with a neighbour that was online."""
    failed: int
    """Of those, the ones that failed."""
    knows_who_is_there: bool
    """Whether peers wrote to absent peers less than half as often as they would by choosing blindly."""
    work: Floats
    """Seconds of work on received models that were trained on; empty if not recorded."""
    gaps: Floats
    """Seconds between an event and the training that is the next one."""
    sessions: tuple[Session, ...]
    pairs: frozenset[tuple[int, int]]
    """Nodes that exchanged models, the smaller number first."""
    tries: list[int]
    """Exchanges that each node started."""


def observe(peers: Sequence[RecordedPeer]) -> Observations:
    """Gather observations; the peers' clocks are taken to agree to within a period."""
    lives = [list(peer.lives.values()) for peer in peers]
    origin = min(life.started for own in lives for life in own)
    number = {peer.peer: node for node, peer in enumerate(peers)}
    presence = _Presence(lives)
    round_trips: list[float] = []
    pairs = set()
    counts = np.zeros(4, dtype=np.int64)  # exchanges, reachable, failed, written to absent ones
    blind = 0.0
    for node, own in enumerate(lives):
        for life in own:
            for exchange in life.exchanges:
                other = number.get(exchange.neighbour)
                begun = exchange.time - exchange.seconds
                succeeded = exchange.outcome == "ok"
                there = succeeded or other is None or presence.covers(other, begun, exchange.time)
                counts += (1, there, there and not succeeded, not there)
                blind += presence.absent_share(node, begun)
                if succeeded:
                    round_trips.append(exchange.seconds)
                    if other is not None:
                        pairs.add((min(node, other), max(node, other)))
    return Observations(
        seconds=max(life.ended for own in lives for life in own) - origin,
        intervals=[np.concatenate([_intervals(life.exchanges) for life in own]) for own in lives],
        round_trips=np.array(round_trips),
        exchanges=int(counts[0]),
        reachable=int(counts[1]),
        failed=int(counts[2]),
        knows_who_is_there=bool(counts[3] < blind / 2),
        work=np.concatenate([_work(life) for own in lives for life in own]),
        gaps=np.concatenate([_gaps(life) for own in lives for life in own]),
        sessions=_sessions(lives, origin),
        pairs=frozenset(pairs),
        tries=[sum(len(life.exchanges) for life in own) for own in lives],
    )


class _Presence:
    """Presence of the nodes over time."""

    def __init__(self, lives: Sequence[Sequence[Life]]) -> None:
        self._spans = [[(life.started, life.ended) for life in own] for own in lives]

    def covers(self, node: int, begun: float, ended: float) -> bool:
        """Whether one start of the node spans the whole time."""
        return any(start <= begun and ended <= end for start, end in self._spans[node])

    def absent_share(self, node: int, time: float) -> float:
        """Share of the other nodes that are not online."""
        others = [spans for other, spans in enumerate(self._spans) if other != node]
        away = sum(not any(start <= time <= end for start, end in spans) for spans in others)
        return away / max(1, len(others))  # of one home alone, there are none to know of


def _intervals(exchanges: Sequence[Exchange]) -> Floats:
    return np.diff(np.sort([exchange.time - exchange.seconds for exchange in exchanges]))


def _work(life: Life) -> Floats:
    return np.array(
        [
            event.seconds
            for event in life.events
            if event.trained and event.source is not None and event.seconds is not None
        ]
    )


def _gaps(life: Life) -> Floats:
    times = np.array([event.time for event in life.events])
    trained = np.array([event.trained and event.source is not None for event in life.events], dtype=bool)
    gaps: Floats = np.diff(times)[trained[1:]]
    return gaps[gaps > 0]


def _sessions(lives: Sequence[Sequence[Life]], origin: float) -> tuple[Session, ...]:
    """Sessions that do not overlap, whatever the clocks did.

    A peer that was up almost to the end counts as up to the end: stopping is not churn.
    """
    sessions = []
    last = max(life.ended for own in lives for life in own) - origin
    for node, own in enumerate(lives):
        before = 0.0
        for life in own:
            start, end = max(before, life.started - origin), life.ended - origin
            if end > (1 - _END_SHARE) * last:
                end = last + 0.001
            if end > start:
                sessions.append(Session(node, start, end))
                before = end
    return tuple(sessions)
