"""The first event at which a replay departs from the run that it follows."""

from __future__ import annotations

from dataclasses import dataclass

from sims.replay.peer_records import Version

__all__ = ["Departure", "earlier"]


@dataclass(frozen=True, slots=True)
class Departure:
    """A training or a round whose outcome differs from the record.

    Parameters
    ----------
    version : Version
    number : int
        Its place in the order of the replay.
    what : str
        The quantity that differs, e.g. ``"loss"``.
    recorded, here : object
        Its value in the run and in the replay.
    """

    version: Version
    number: int
    what: str
    recorded: object
    here: object

    def __str__(self) -> str:
        return f"the {self.what} was {self.recorded} there, and is {self.here} here"


def earlier(one: Departure | None, other: Departure) -> Departure:
    """The earlier of the two."""
    return other if one is None or other.number < one.number else one
