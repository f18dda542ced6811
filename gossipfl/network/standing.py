"""Standing of peers: known to this one, proven in an exchange, or strangers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

__all__ = ["Standing"]

_MOST_PROVEN: Final = 4096


class Standing:
    """Says whom a host values when places are short.

    An identity costs nothing, so what it has proved is little: that it spoke the protocol to its end, once. But
    places are kept for those who did, and those that the host's user knows.

    Parameters
    ----------
    knows : callable, optional
        Says of a peer id whether the host's user knows it.
    """

    def __init__(self, *, knows: Callable[[str], bool] = lambda _: False) -> None:
        self.knows = knows
        self._proven: OrderedDict[str, None] = OrderedDict()

    def prove(self, peer_id: str) -> None:
        """Note that a whole exchange with a peer went well."""
        self._proven[peer_id] = None
        self._proven.move_to_end(peer_id)
        if len(self._proven) > _MOST_PROVEN:
            self._proven.popitem(last=False)

    def lose(self, peer_id: str) -> None:
        """Note that a peer broke the protocol."""
        self._proven.pop(peer_id, None)

    def is_valued(self, peer_id: str) -> bool:
        """Say whether places are kept for a peer."""
        return peer_id in self._proven or self.knows(peer_id)
