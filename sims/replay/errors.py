"""Errors in the records of a run that is to be replayed."""

from __future__ import annotations

from typing import Self

from sims.errors import SimulationError

__all__ = [
    "DuplicatePeer",
    "KeyboardSealed",
    "MissingCheckpoint",
    "MissingPeer",
    "MissingRecords",
    "NotRecomputable",
    "OtherSettings",
    "OtherTask",
    "RecordsRemoved",
    "ReplayError",
    "TornRecords",
]


class ReplayError(SimulationError):
    """A recorded run cannot be replayed."""


class MissingRecords(ReplayError):
    """The home of a peer holds no records."""


class RecordsRemoved(ReplayError):
    """Records were removed to make room."""


class MissingPeer(ReplayError):
    """Models came from a peer whose home was not given."""


class NotRecomputable(ReplayError):
    """The random draws in what peers sent were deliberately not recorded."""


class KeyboardSealed(ReplayError):
    """What a peer trained on is what its owner typed, which nothing but the peer reads."""

    @classmethod
    def of(cls, peer: str) -> Self:
        """The error of a keyboard."""
        return cls(
            f"peer {peer} is a keyboard: what it trained on is in the encrypted store of its home, on purpose out "
            "of reach of analyses and replays",
            remedy="What it measured itself is in its records: gossipfl analyze --no-retrace.",
        )


class DuplicatePeer(ReplayError):
    """Two of the homes belong to the same peer."""


class TornRecords(ReplayError):
    """Records are damaged, incomplete, or contradict one another."""


class MissingCheckpoint(ReplayError):
    """There is no checkpoint to compare the outcome with."""


class OtherTask(ReplayError):
    """The peers learn different tasks, or the task found here is not the one that was recorded."""


class OtherSettings(ReplayError):
    """Recorded settings are not valid settings of this version."""
