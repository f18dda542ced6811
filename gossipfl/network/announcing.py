"""A host's own announcement: signed, and renewed when its addresses change or it expires."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gossipfl.network.identity import Identity
from gossipfl.wire import PeerDescriptor, announce

__all__ = ["Announcer"]

# A recent announcement shows others that a peer is still alive.
_RENEWAL_SECONDS: Final = 30.0
# A century in milliseconds: a number beyond it was made by nobody's clock, and would leave none to outdo it with.
_FURTHEST: Final = 2**42


@dataclass(kw_only=True, eq=False)
class Announcer:
    """Keeps the announcement up to date.

    Parameters
    ----------
    addresses : callable
        Returns the addresses at which others can reach this host now.
    clock : callable, optional
        Returns the time in seconds since 1970.
    """

    identity: Identity
    addresses: Callable[[], tuple[str, ...]]
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self._newest: PeerDescriptor | None = None
        self._made_at = 0.0
        self._least_sequence = 0

    def announcement(self) -> PeerDescriptor:
        """Return the current announcement, renewed if necessary."""
        addresses, now = self.addresses(), self.clock()
        newest = self._newest
        fresh = abs(now - self._made_at) < _RENEWAL_SECONDS
        if (
            newest is None
            or newest.addresses != addresses
            or newest.sequence < self._least_sequence
            or not fresh
        ):
            previous = 0 if newest is None else newest.sequence
            newest = self._newest = announce(
                self.identity.peer_id,
                addresses,
                sequence=max(int(now * 1000), previous + 1, self._least_sequence),
                sign=self.identity.sign,
            )
            self._made_at = now
        return newest

    def outdo(self, sequence: int) -> None:
        """Make the next sequence exceed one that others know of this host, whose clock has since gone back."""
        if sequence <= int(self.clock() * 1000) + _FURTHEST:
            self._least_sequence = max(self._least_sequence, sequence + 1)
