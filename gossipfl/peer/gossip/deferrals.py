"""Neighbours that have asked for no models until some time."""

from __future__ import annotations

from typing import Final

from gossipfl.recent import RecentMap

__all__ = ["Deferrals"]

_MOST: Final = 256
#: Whatever a neighbour asks for, it is offered a model again after this.
_LONGEST_SECONDS: Final = 600.0


class Deferrals:
    """Times before which neighbours are not offered models; they may be met for views all the same."""

    def __init__(self) -> None:
        self._until: RecentMap[str, float] = RecentMap(_MOST)

    def note(self, peer_id: str, seconds: float, *, now: float) -> None:
        """Record that a neighbour asked to come again after so many seconds."""
        self._until[peer_id] = now + min(seconds, _LONGEST_SECONDS)

    def current(self, now: float) -> set[str]:
        """Return the neighbours that are not to be offered models now."""
        return {peer_id for peer_id, until in self._until.items() if until > now}
