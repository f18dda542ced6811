"""Senders' shares of the merges."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from gossipfl.recent import RecentMap

__all__ = ["Contribution", "Shares"]

_SMALLEST = 1 / 16
_SILENT_INTERVALS = 8.0
_SHORTEST_SILENCE = 10.0  # seconds
_LONGEST_SILENCE = 600.0  # seconds, of a sender that was heard once


@dataclass(slots=True)
class Contribution:
    """A sender's weight among the last merges, and how often it is heard; times in seconds."""

    weight: float
    heard_at: float
    interval: float

    def is_silent(self, now: float) -> bool:
        """Whether the sender has not been heard for much longer than usual."""
        return now - self.heard_at > max(_SILENT_INTERVALS * self.interval, _SHORTEST_SILENCE)


class Shares:
    """How far each sender's next model may be merged, so that nobody has many times its fair share of the merges.

    The fair share is that of 1 + n senders, where n is the effective number of the others (the inverse of
    Simpson's index), so that identities that are rarely heard do not lower it. A sender with more is not refused,
    since it may only be faster; its models are merged a smaller part of the way.

    Parameters
    ----------
    fair_shares : float
        Multiple of its fair share that one sender may have.
    size : int
        Most senders that are remembered.
    window : int
        Number of the last merges that count; nobody's share is limited before a quarter as many.
    """

    def __init__(self, *, fair_shares: float, size: int, window: int = 64) -> None:
        self._fair_shares = fair_shares
        self._window = window
        self._senders: RecentMap[Hashable, Contribution] = RecentMap(size)

    def take(self, sender: Hashable, *, now: float) -> float:
        """Return the part of the way that a sender's model may be merged, 1/16 to 1, and count it."""
        known = self._senders.get(sender)
        for name in [
            name for name, each in self._senders.items() if each is not known and each.is_silent(now)
        ]:
            del self._senders[name]
        part = self._allowed(sender)
        for each in self._senders.values():
            each.weight *= 1 - part / self._window
        if known is None:
            known = Contribution(0.0, now, _LONGEST_SILENCE / _SILENT_INTERVALS)
        else:
            known.interval += (now - known.heard_at - known.interval) / 8
        known.weight, known.heard_at = known.weight + part, now
        self._senders[sender] = known
        return part

    def entries(self) -> list[tuple[Hashable, Contribution]]:
        """Return each sender's contribution, the one heard least recently first."""
        return list(self._senders.items())

    def restore(self, entries: Iterable[tuple[Hashable, Contribution]]) -> None:
        """Continue from a value of `entries`."""
        self._senders.restore(entries)

    def _allowed(self, sender: Hashable) -> float:
        others = [each.weight for name, each in self._senders.items() if name != sender]
        mine = self._senders[sender].weight if sender in self._senders else 0.0
        total = sum(others)
        if total + mine <= self._window / 4:
            return 1.0
        squares = sum(each * each for each in others)
        share = self._fair_shares / (1 + (total * total / squares if squares else 0.0))
        if share >= 1:
            return 1.0
        return min(max(share / (1 - share) * total - mine, _SMALLEST), 1.0)
