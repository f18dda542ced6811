"""Presence of nodes, one event at a time: sessions, planned events, and sides of a split."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sims.compiler.timeline import conditions, laws
from sims.compiler.timeline.conditions import Churn, Conditions
from sims.compiler.timeline.draws import PLAN, below, uniform

__all__ = ["Presence"]


class Presence:
    """Coming and going of all nodes.

    Parameters
    ----------
    given : Churn or Conditions
    at : callable
        Schedules a function with its arguments, at a time in ticks.
    now : callable
        The time in ticks.
    """

    def __init__(self, given: Churn | Conditions, *, at: Callable[..., None], now: Callable[[], int]) -> None:
        self.conditions, self.at, self.now = given, at, now
        self.away = np.zeros(given.n, dtype=np.uint8)
        self.island, self.sessions = [0] * given.n, [0] * given.n
        self.reasons_away: list[set[str]] = [set() for _ in range(given.n)]
        self.joined = given.n - given.joining

    def begin(self) -> None:
        """Schedule what is planned; nodes that join later are away."""
        c = self.conditions
        for node in range(self.joined, c.n):
            self.set_away(node, "not joined", away=True)
        if len(c.plan_times):
            self.at(int(c.plan_times[0]), self.planned, 0)

    def begin_node(self, node: int) -> None:
        """Schedule the end of a node's first session."""
        c = self.conditions
        if c.starts_offline:
            self.set_away(node, "offline", away=True)
        if c.sessions:
            online, end = laws.first_session(c, node)
            self.set_away(node, "offline", away=not online)
            self.at(end, self.session_ends, node)

    def set_away(self, node: int, reason: str, *, away: bool) -> None:
        """A node may be away for several reasons; it is online when none is left."""
        (self.reasons_away[node].add if away else self.reasons_away[node].discard)(reason)
        self.away[node] = bool(self.reasons_away[node])

    def session_ends(self, node: int) -> None:
        """A node goes offline, or comes back."""
        online = "offline" in self.reasons_away[node]
        self.set_away(node, "offline", away=not online)
        self.sessions[node] += 1
        length = laws.session_length(self.conditions, node, self.sessions[node], online, self.now())
        self.at(self.now() + length, self.session_ends, node)

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
