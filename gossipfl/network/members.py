"""Membership of connected peers, and disconnection of those that are no longer members."""

from __future__ import annotations

import time
from dataclasses import KW_ONLY, dataclass
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


@dataclass(eq=False)
class Members:
    """Membership of the connected peers.

    Parameters
    ----------
    threshold : Threshold or None
        Without one, everyone may stay.
    """

    threshold: Threshold | None
    _: KW_ONLY
    table: ConnectionTable
    counters: NetworkCounters

    def __post_init__(self) -> None:
        #: Refused admissions.
        self.knocks = Knocks()

    def member(self, peer_id: str) -> Member | None:
        """Return the certificate that a connected peer has presented; None if none was required."""
        connection = self.table.best(peer_id)
        return None if connection is None else connection.member

    def renew(self, peer_id: str, member: Member) -> None:
        """Replace the certificate that a connected peer has presented by a newer one of its own."""
        for connection in self.table.of_peer(peer_id):
            if connection.member is not None and member.supersedes(connection.member):
                connection.member = member

    def is_stranger(self, peer_id: str) -> bool:
        """Return whether a peer cannot be admitted whatever it presents, so that dialling it is pointless."""
        return self.threshold is not None and self.threshold.door.is_stranger(peer_id)

    def require(self) -> None:
        """Drop all connections to peers that are no longer admitted. Never blocks."""
        if self.threshold is None:
            return
        for connection in self.table.all():
            try:
                self.threshold.door.require_still(connection.peer_id, connection.member, now=time.time())
            except NotAMember as error:
                self.counters.count_refused(error)
                self.knocks.note(connection.peer_id, connection.remote_address, error)
                connection.abort(ConnectionAborted(str(error)))

    async def drop_expired(self) -> None:
        """Drop the connections of members whose certificates expire, until cancelled."""
        while True:
            await trio.sleep(_LOOK_SECONDS)
            self.require()
