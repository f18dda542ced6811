"""Standing of peers, which decides who keeps a place when places run out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gossipfl.recent import RecentMap

__all__ = ["Standing"]

_MOST_PROVEN: Final = 4096


class Standing:
    """The peers for which a host reserves places.

    These are the peers that the host's user knows, and those that have completed an exchange. The latter proves
    little, since identities cost nothing, but more than a peer that has proved nothing.

    Parameters
    ----------
    knows : callable, optional
        Returns whether the host's user knows a peer id.
    """

    def __init__(self, *, knows: Callable[[str], bool] = lambda _: False) -> None:
        self.knows = knows
        self._proven: RecentMap[str, None] = RecentMap(_MOST_PROVEN)

    def prove(self, peer_id: str) -> None:
        """Record that a peer completed an exchange."""
        self._proven[peer_id] = None

    def lose(self, peer_id: str) -> None:
        """Withdraw a peer's standing, because it broke the protocol."""
        self._proven.pop(peer_id, None)

    def is_valued(self, peer_id: str) -> bool:
        """Return whether places are reserved for a peer."""
        return peer_id in self._proven or self.knows(peer_id)
