"""Learning in rounds: all members of a roster in step, each mixing with its neighbours of the round.

A member's own side of it, which replays do again, is in `gossipfl.rounds`.
"""

from gossipfl.peer.rounds.driver import (
    in_rounds,
    roster_book,
    take_part_in_rounds,
)

__all__ = ["in_rounds", "roster_book", "take_part_in_rounds"]
