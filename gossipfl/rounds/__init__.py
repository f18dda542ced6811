"""One member's side of learning in rounds, without I/O: run by peers, and run again by replays."""

from gossipfl.rounds.member_rows import Outgoing, encoded_for, mixed, mixed_sum, outgoing
from gossipfl.rounds.mixing import Mixing
from gossipfl.rounds.plan import Position, RoundsPlan, plan_of
from gossipfl.rounds.roster import Roster, read_roster
from gossipfl.rounds.state import at_rest, finite_or_before, row_digest, started
from gossipfl.rounds.training import TrainerOfRounds

__all__ = [
    "Mixing",
    "Outgoing",
    "Position",
    "Roster",
    "RoundsPlan",
    "TrainerOfRounds",
    "at_rest",
    "encoded_for",
    "finite_or_before",
    "mixed",
    "mixed_sum",
    "outgoing",
    "plan_of",
    "read_roster",
    "row_digest",
    "started",
]
