"""Rounds under way, and where in them each node is."""

from __future__ import annotations

from dataclasses import dataclass, field

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
