"""Promptness of neighbours, so that those that stall do not hold all slots for exchanges."""

from __future__ import annotations

from typing import Final

from gossipfl.recent import RecentMap

__all__ = ["Promptness"]

_MOST: Final = 256
_SLOW_FACTOR: Final = 4.0


class Promptness:
    """Remembers how long exchanges with each neighbour took, or until they failed.

    A slow exchange counts for half as much after each further one: who stalled has to be prompt several times.

    Parameters
    ----------
    least : float
        Seconds that are never slow.
    """

    def __init__(self, *, least: float) -> None:
        self._least = least
        self._seconds: RecentMap[str, float] = RecentMap(_MOST)

    def note(self, peer_id: str, seconds: float) -> None:
        """Record an exchange that took so long."""
        self._seconds[peer_id] = max(seconds, self._seconds.get(peer_id, 0.0) / 2)

    def slow(self) -> set[str]:
        """Return the peers that took more than a few times as long as the promptest quarter of all."""
        if not self._seconds:
            return set()
        quartile = sorted(self._seconds.values())[len(self._seconds) // 4]
        most = max(self._least, _SLOW_FACTOR * quartile)
        return {peer_id for peer_id, seconds in self._seconds.items() if seconds > most}
