"""Learning in rounds: all members of a roster in step, each mixing with its neighbours of the round."""

from gossipfl.peer.rounds.driver import (
    in_rounds,
    roster_descriptors,
    roster_view_settings,
    started,
    take_part_in_rounds,
)
from gossipfl.peer.rounds.plan import RoundsPlan, plan_of

__all__ = [
    "RoundsPlan",
    "in_rounds",
    "plan_of",
    "roster_descriptors",
    "roster_view_settings",
    "started",
    "take_part_in_rounds",
]
