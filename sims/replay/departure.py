"""The first event at which a replay departs from the run that it follows."""

from __future__ import annotations

from dataclasses import dataclass

from sims.replay.peer_records import Version

__all__ = ["Departure", "earlier"]


@dataclass(frozen=True, slots=True)
class Departure:
    """A training whose loss came out otherwise than recorded.

    Parameters
    ----------
    version : Version
    number : int
        Its place in the order of the replay.
    recorded, came : float
        Mean loss of its batches.
    """

    version: Version
    number: int
    recorded: float
    came: float


def earlier(one: Departure | None, other: Departure) -> Departure:
    """The one that comes first."""
    return other if one is None or other.number < one.number else one
