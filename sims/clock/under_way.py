"""Rounds under way, and where in them each node is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sims.clock.attendance import Attending
from sims.clock.pairs import Pairs
from sims.clock.profile import RoundProfile

__all__ = ["NodeUnderWay", "Place", "RoundUnderWay"]

Place = tuple[int, int]
"""A round, and one of its exchanges."""


@dataclass(slots=True)
class NodeUnderWay:
    """Where a node is, and what it waits for."""

    place: Place = (0, 0)
    since: float = 0.0  # when its round began
    began: bool = False  # the exchange at this place
    computed: bool = False
    leaves: bool = False  # all rows are there that will be
    exchanged: bool = False
    waits_for: set[int] = field(default_factory=set)
    unanswered: set[int] = field(default_factory=set)
    early: dict[Place, set[int]] = field(default_factory=dict)
    given_up: dict[Place, set[int]] = field(default_factory=dict)

    def plain(self) -> list[Any]:
        """All of it as plain values."""
        return [
            *(self.place, self.since, self.began, self.computed, self.leaves, self.exchanged),
            *(sorted(each) for each in (self.waits_for, self.unanswered)),
            *([(place, sorted(who)) for place, who in each.items()] for each in (self.early, self.given_up)),
        ]

    @classmethod
    def of_plain(cls, plain: list[Any]) -> NodeUnderWay:
        """Make one of them."""
        (number, exchange), *moments, waits_for, unanswered, early, given_up = plain
        heard = [{(at[0], at[1]): set(who) for at, who in each} for each in (early, given_up)]
        since, began, computed, leaves, exchanged = moments
        return cls(
            place=(number, exchange),
            since=since,
            began=began,
            computed=computed,
            leaves=leaves,
            exchanged=exchanged,
            waits_for=set(waits_for),
            unanswered=set(unanswered),
            early=heard[0],
            given_up=heard[1],
        )


@dataclass(slots=True, eq=False)
class RoundUnderWay:
    """A round that not all nodes have ended."""

    profile: RoundProfile
    pairs: list[Pairs]
    attending: Attending
    ends: NDArray[np.float64]
    left: int
    missing: list[list[tuple[int, int]]]
    resting: list[int] = field(default_factory=list)
    at_server: dict[int, int] = field(default_factory=dict)
    first_end: float | None = None
