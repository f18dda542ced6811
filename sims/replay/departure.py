"""The first event at which a replay departs from the run that it follows."""

from __future__ import annotations

from dataclasses import dataclass

from sims.replay.lives import Version

__all__ = ["Departure"]


@dataclass(frozen=True, slots=True)
class Departure:
    """A training or a round whose outcome differs from the record."""

    version: Version
    number: int
    """Its place in the order of the replay."""
    what: str
    """The quantity that differs, e.g. ``"loss"``."""
    recorded: object
    here: object
    """Its value in the run and in the replay."""

    def __str__(self) -> str:
        return f"the {self.what} was {self.recorded} there, and is {self.here} here"
