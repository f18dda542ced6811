"""Offences of senders, doubts about them, and their quarantine."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Final

from gossipfl.recent import RecentMap
from gossipfl.settings.gate import GateSettings

__all__ = ["Offence", "Offenders"]

#: Share of the way that a first doubtful model is merged, and the least that doubts leave of it.
_DOUBTFUL_SHARE, _LEAST_DOUBTFUL_SHARE = 0.25, 1 / 64
_MOMENT_SECONDS: Final = 10.0


@dataclass(slots=True)
class Offence:
    """What is held against a sender; times in seconds."""

    offences: float = 0.0
    noted_at: float = 0.0
    doubts: float = 0.0
    doubted_at: float = 0.0
    quarantines: int = 0
    until: float = float("-inf")


class Offenders:
    """Senders whose models were refused or doubtful.

    Parameters
    ----------
    settings : GateSettings
    size : int
        Most senders that are remembered; whoever was noted least recently is forgotten first.
    """

    def __init__(self, settings: GateSettings, *, size: int) -> None:
        self._settings = settings
        self._records: RecentMap[Hashable, Offence] = RecentMap(size)

    def quarantined(self, *, now: float) -> list[Hashable]:
        """Senders that are currently quarantined."""
        return [sender for sender, record in self._records.items() if record.until > now]

    def is_quarantined(self, sender: Hashable, *, now: float) -> bool:
        """Whether a sender is currently quarantined."""
        record = self._records.get(sender)
        return record is not None and record.until > now

    def has_offended(self, sender: Hashable, *, now: float) -> bool:
        """Whether a sender was refused recently, or has ever been quarantined."""
        record = self._records.get(sender)
        if record is None:
            return False
        return record.quarantines > 0 or (record.offences > 0 and now - record.noted_at < _MOMENT_SECONDS)

    def entries(self) -> list[tuple[Hashable, Offence]]:
        """Return what is held against each sender, the one noted least recently first."""
        return list(self._records.items())

    def restore(self, entries: Iterable[tuple[Hashable, Offence]]) -> None:
        """Continue from a value of `entries`."""
        self._records.restore(entries)

    def doubt(self, sender: Hashable, *, now: float) -> float:
        """Return the share of the way that a doubtful model is merged: half of the last doubtful one's."""
        record = self._record_of(sender, now=now)
        faded = (now - record.doubted_at) / _MOMENT_SECONDS
        doubts = max(record.doubts - faded, 0.0)
        record.doubts, record.doubted_at = doubts + 1, now
        return float(max(_DOUBTFUL_SHARE * 2.0**-doubts, _LEAST_DOUBTFUL_SHARE))

    def offend(self, sender: Hashable, *, weight: float, now: float) -> bool:
        """Count an offence, less those forgiven since the last; return whether it begins a quarantine."""
        settings = self._settings
        record = self._record_of(sender, now=now)
        forgiven = (now - record.noted_at) / settings.forgiveness
        record.offences = max(record.offences - forgiven, 0.0) + weight
        record.noted_at = now
        if record.offences < settings.offences:
            return False
        length = settings.quarantine * 2.0**record.quarantines
        record.until = now + min(length, settings.longest_quarantine)
        record.quarantines += 1
        record.offences = 0.0
        return True

    def _record_of(self, sender: Hashable, *, now: float) -> Offence:
        record = self._records.get(sender) or Offence(noted_at=now, doubted_at=now)
        self._records[sender] = record  # which makes it the newest
        return record
