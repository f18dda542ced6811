"""Places for inbound handshakes: limited, and shared fairly among networks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import trio

from gossipfl.errors import ConnectionRefusedByPolicy
from gossipfl.network.addresses import prefix_of

__all__ = ["Newcomers"]

# An honest handshake takes this long on a slow line; an older one may lose its place to any newcomer.
_GRACE_SECONDS: Final = 2.0


@dataclass(eq=False, slots=True)
class _Newcomer:
    address: str
    prefix: str
    since: float
    scope: trio.CancelScope


class Newcomers:
    """Places for handshakes of accepted sockets.

    When all are taken, a newcomer takes the oldest place of the network prefix that holds most, unless its own
    prefix holds as many. Silent sockets from a few networks thus cannot lock out other networks.

    Parameters
    ----------
    places : int
        At most half of them for one address.
    """

    def __init__(self, *, places: int) -> None:
        self._places = places
        self._waiting: list[_Newcomer] = []

    def __len__(self) -> int:
        return len(self._waiting)

    @contextmanager
    def admitted(self, address: str) -> Iterator[None]:
        """Hold a place for the duration of a handshake.

        Raises
        ------
        ConnectionRefusedByPolicy
            None is free, or this one was needed for another newcomer.
        """
        newcomer = _Newcomer(address, prefix_of(address), trio.current_time(), trio.CancelScope())
        self._make_room(newcomer)
        self._waiting.append(newcomer)
        try:
            with newcomer.scope:
                yield
        finally:
            if newcomer in self._waiting:
                self._waiting.remove(newcomer)
        if newcomer.scope.cancelled_caught:
            raise ConnectionRefusedByPolicy("the place of a slow handshake was needed for another newcomer")

    def _make_room(self, newcomer: _Newcomer) -> None:
        from_address = sum(each.address == newcomer.address for each in self._waiting)
        if 2 * from_address >= self._places:
            raise self._no_place()
        if len(self._waiting) < self._places:
            return
        crowds = Counter(each.prefix for each in self._waiting)
        most = max(crowds.values())
        oldest = next(each for each in self._waiting if crowds[each.prefix] == most)
        if crowds[newcomer.prefix] >= most and newcomer.since - oldest.since < _GRACE_SECONDS:
            raise self._no_place()
        self._waiting.remove(oldest)
        oldest.scope.cancel()

    def _no_place(self) -> ConnectionRefusedByPolicy:
        return ConnectionRefusedByPolicy(
            "too many connections have not proved an identity", expected=f"at most {self._places}"
        )
