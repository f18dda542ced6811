"""Members among the peers that a host is connected to, and seeing out whoever is none any more."""

from __future__ import annotations

import time
from typing import Final

import trio

from gossipfl.errors import NotAMember
from gossipfl.membership import Member, Threshold
from gossipfl.network.counters import NetworkCounters
from gossipfl.network.failures import ConnectionAborted
from gossipfl.network.knocks import Knocks
from gossipfl.network.table import ConnectionTable

__all__ = ["Members"]

_LOOK_SECONDS: Final = 1.0


class Members:
    """The connected peers as the door sees them.

    Parameters
    ----------
    threshold : Threshold or None
        Without one, everybody may stay.
    table : ConnectionTable
    counters : NetworkCounters
    """

    def __init__(
        self,
        threshold: Threshold | None,
        *,
        table: ConnectionTable,
        counters: NetworkCounters,
    ) -> None:
        self._threshold = threshold
        self._table = table
        self._counters = counters
        #: Who was not let in.
        self.knocks = Knocks()

    def member(self, peer_id: str) -> Member | None:
        """Return the certificate that a connected peer has shown; None if none was asked for."""
        connection = self._table.best(peer_id)
        return None if connection is None else connection.member

    def is_stranger(self, peer_id: str) -> bool:
        """Say whether a peer may not come in whatever it shows, and so need not be dialled."""
        return self._threshold is not None and self._threshold.door.is_stranger(peer_id)

    def require(self) -> None:
        """Drop all connections to peers that may not stay; after a change of who may. Never blocks."""
        if self._threshold is None:
            return
        for connection in self._table.all():
            try:
                self._threshold.door.require_still(connection.peer_id, connection.member, now=time.time())
            except NotAMember as error:
                self._counters.count_refused(error)
                self.knocks.note(connection.peer_id, connection.remote_address, error)
                connection.abort(ConnectionAborted(str(error)))

    async def see_out(self) -> None:
        """Drop the connections of members whose time is up, until cancelled."""
        while True:
            await trio.sleep(_LOOK_SECONDS)
            self.require()
