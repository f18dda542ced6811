"""Slots for the exchanges that a peer starts: a few in each direction, and one with each neighbour."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Directions", "Slots"]


@dataclass(frozen=True, slots=True)
class Directions:
    """The rows that an exchange carries: one to the neighbour, one that answers it, or both."""

    sends: bool
    asks: bool


class Slots:
    """The neighbours with which exchanges are under way.

    An exchange that carries a row in one direction takes no slot in the other: on a slow link it may last for
    minutes, and the other direction would be idle once all slots were taken.
    """

    def __init__(self) -> None:
        self._sending: set[str] = set()
        self._asking: set[str] = set()

    def taken(self, rows: Directions) -> set[str]:
        """Return the neighbours with which an exchange is under way in any of these directions."""
        return (self._sending if rows.sends else set()) | (self._asking if rows.asks else set())

    def begin(self, peer_id: str, rows: Directions) -> None:
        """Take a slot."""
        if rows.sends:
            self._sending.add(peer_id)
        if rows.asks:
            self._asking.add(peer_id)

    def end(self, peer_id: str, rows: Directions) -> None:
        """Give a slot back; more than once does no harm before the next exchange in these directions begins."""
        if rows.sends:
            self._sending.discard(peer_id)
        if rows.asks:
            self._asking.discard(peer_id)
