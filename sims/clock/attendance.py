"""Attendance of rounds: which nodes are there when one begins, and on which side of a split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sims.clock.plain import Arrays, Event, as_array, events_of, of_array, plain_events, under, within
from sims.compiler.presence import Presence
from sims.compiler.timeline.conditions import Churn, churn_of, ticks
from sims.compiler.timeline.draws import CYCLE, uniform
from sims.scenario import Scenario
from sims.scenario.network import ChargingChurn, CycleChurn, NoChurn

__all__ = ["Attendance", "Attending"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attending:
    """Who is there in a round.

    Parameters
    ----------
    away : ndarray
        Nodes that sit it out, bool ``[n]``.
    side : ndarray
        The part of a split network that each node is in, int64 ``[n]``; rows do not pass between parts.
    idle : ndarray
        Those who are away, or are not among the participants that the algorithm draws, bool ``[n]``.
    """

    away: NDArray[np.bool_]
    side: NDArray[np.int64]
    idle: NDArray[np.bool_]
    all_reach_all: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "all_reach_all", not self.away.any() and not self.side.any())

    def are_apart(self, receivers: NDArray[np.int64], senders: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Pairs of which one is away, or between which nothing passes."""
        return self.away[receivers] | self.away[senders] | (self.side[receivers] != self.side[senders])

    def reach(self, node: int, others: Sequence[int]) -> list[int]:
        """Those of other nodes with which one can exchange rows."""
        if self.all_reach_all:
            return list(others)
        return [each for each in others if not self.away[each] and self.side[each] == self.side[node]]


class _Course:
    """Presence that goes on with time, as the reference executor's does."""

    def __init__(self, churn: Churn) -> None:
        self._events: list[Event] = []
        self._now = self._order = 0
        self.presence = Presence(churn, at=self._at, now=lambda: self._now)
        self.presence.begin()
        for node in range(churn.n):
            self.presence.begin_node(node)

    def _at(self, time: int, happens: Callable[..., None], *about: Any) -> None:  # noqa: ANN401
        self._order += 1
        heappush(self._events, (time, self._order, happens, about))

    def go_on(self, time: int) -> None:
        """Let everything happen up to a time in ticks, that included."""
        while self._events and self._events[0][0] <= time:
            self._now, _, happens, about = heappop(self._events)
            happens(*about)
        self._now = max(self._now, time)

    def state(self) -> Arrays:
        """All that changes."""
        presence = self.presence
        events = plain_events(self._events)
        reasons = [sorted(each) for each in presence.reasons_away]
        return {
            "away": presence.away.copy(),
            "island": np.array(presence.island, dtype=np.int64),
            "sessions": np.array(presence.sessions, dtype=np.int64),
            "others": as_array([self._now, self._order, presence.joined, reasons, events]),
        }

    def restore(self, state: Arrays) -> None:
        """Continue from a state."""
        presence = self.presence
        self._now, self._order, presence.joined, reasons, events = of_array(state["others"])
        presence.away[:] = state["away"]
        presence.island, presence.sessions = state["island"].tolist(), state["sessions"].tolist()
        presence.reasons_away = [set(each) for each in reasons]
        self._events = events_of(events, (presence.session_ends, presence.planned))


class Attendance:
    """Presence of the nodes of a scenario, round after round.

    Sessions are in seconds, planned events in rounds. Who is away when the first node begins a round sits it out,
    and whoever leaves meanwhile leaves after it.

    Parameters
    ----------
    scenario : Scenario
    numbers : sequence of int
        The number by which each node is drawn.
    participants : callable
        Which nodes an algorithm draws for a round, bool ``[n]``; None if all take part.
    """

    def __init__(
        self,
        scenario: Scenario,
        numbers: Sequence[int],
        participants: Callable[[int], NDArray[np.bool_] | None] = lambda number: None,
    ) -> None:
        self._participants = participants
        churn = scenario.churn
        self._scenario, self._numbers, self._period = scenario, numbers, scenario.network.period
        self._offline = churn.process.offline if isinstance(churn.process, CycleChurn) else 0.0
        of_process = not isinstance(churn.process, NoChurn | CycleChurn)
        self._until = scenario.stop.rounds * self._period
        self._sessions = self._of_process(self._until) if of_process else None
        planned = scenario.model_copy(update={"churn": churn.model_copy(update={"process": NoChurn()})})
        self._planned = _Course(churn_of(planned, numbers)) if churn.events else None
        n = scenario.population.nodes
        self._nobody, self._one_side = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.int64)

    def at(self, number: int, seconds: float) -> Attending:
        """Who is there when a round begins; rounds and times never go back."""
        away, side = self._nobody.copy(), self._one_side
        if self._offline:
            lots = [uniform(self._scenario.seed, CYCLE, node, number) for node in range(len(away))]
            away |= np.array(lots) < self._offline
        if self._sessions is not None:
            self._know(seconds)
            self._sessions.go_on(ticks(seconds))
            away |= self._sessions.presence.away.astype(np.bool_)
        if self._planned is not None:
            self._planned.go_on(ticks(number * self._period))
            away |= self._planned.presence.away.astype(np.bool_)
            side = np.array(self._planned.presence.island, dtype=np.int64)
        drawn = self._participants(number)
        return Attending(away=away, side=side, idle=away if drawn is None else away | ~drawn)

    def state(self) -> Arrays:
        """All that changes."""
        courses = {"sessions": self._sessions, "planned": self._planned}
        present = {name: course.state() for name, course in courses.items() if course is not None}
        return {
            "until": np.array([self._until], dtype=np.float64),
            **{
                name: array
                for course, state in present.items()
                for name, array in under(course, state).items()
            },
        }

    def restore(self, state: Arrays) -> None:
        """Continue from a state."""
        until = float(state["until"][0])
        if self._sessions is not None:
            if until != self._until:
                self._until, self._sessions = until, self._of_process(until)
            self._sessions.restore(within("sessions", state))
        if self._planned is not None:
            self._planned.restore(within("planned", state))

    def _of_process(self, until: float) -> _Course:
        churn = self._scenario.churn.model_copy(update={"events": ()})
        scenario = self._scenario.model_copy(update={"churn": churn})
        return _Course(churn_of(scenario, self._numbers, until=until))

    def _know(self, seconds: float) -> None:
        """Draw the nights of phones as far ahead as rounds have come; those before stay the same."""
        if seconds > self._until and isinstance(self._scenario.churn.process, ChargingChurn):
            self._until = 2 * seconds
            self._sessions = self._of_process(self._until)
