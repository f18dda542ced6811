"""Notifees, tags and summaries of the library's network interface."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NoReturn

import trio
from libp2p.abc import CMInfo, INetworkService, INotifee
from libp2p.network.exceptions import SwarmException
from libp2p.network.tag_store import TagStore
from libp2p.peer.id import ID
from multiaddr import Multiaddr

from gossipfl.network.libp2p.connections import LibraryConnection
from gossipfl.network.log_limits import limited_logger

__all__ = ["Bookkeeping"]

_log = limited_logger(__name__)


class Bookkeeping(INetworkService):
    """Bookkeeping for a network's users that has no effect on it: the host decides which connections stay.

    Parameters
    ----------
    nursery : trio.Nursery
        Runs the tasks that call notifees.
    most_connections : int
        The host's limit.
    """

    def __init__(self, nursery: trio.Nursery, *, most_connections: int) -> None:
        self.tag_store = TagStore()
        self._nursery = nursery
        self._most_connections = most_connections
        self._notifees: list[INotifee] = []

    @abstractmethod
    def get_total_connections(self) -> int:
        """Count connections."""

    async def listen(self, *multiaddrs: Multiaddr) -> bool:
        """Refuse addresses: they were chosen when the host was opened.

        Raises
        ------
        SwarmException
            An address is given.
        """
        if multiaddrs:
            raise SwarmException("the host is already listening, at the addresses given when it was opened")
        return True

    async def run(self) -> None:
        """Wait until cancelled: the host is already running."""
        await trio.sleep_forever()

    def get_manager(self) -> NoReturn:
        """Refuse: the library does not run the network.

        Raises
        ------
        SwarmException
            Always.
        """
        raise SwarmException("the network is run by its host")

    def register_notifee(self, notifee: INotifee) -> None:
        """Start notifying about connections."""
        self._notifees.append(notifee)

    def remove_notifee(self, notifee: INotifee) -> None:
        """Stop notifying about connections."""
        if notifee in self._notifees:
            self._notifees.remove(notifee)

    def notify(self, event: str, connection: LibraryConnection) -> None:
        """Notify all notifees that a connection was ``connected`` or ``disconnected``; never blocks."""
        for notifee in self._notifees:
            self._nursery.start_soon(self._notify_one, notifee, event, connection)

    async def _notify_one(self, notifee: INotifee, event: str, connection: LibraryConnection) -> None:
        try:
            await getattr(notifee, event)(self, connection)
        except Exception:  # a bug in a notifee must end nothing else
            _log.exception("a notifee failed")

    def tag_peer(self, peer_id: ID, tag: str, value: int) -> None:
        """Tag a peer with a value."""
        self.tag_store.tag_peer(peer_id, tag, value)

    def untag_peer(self, peer_id: ID, tag: str) -> None:
        """Remove a tag from a peer."""
        self.tag_store.untag_peer(peer_id, tag)

    def get_tag_info(self, peer_id: ID) -> object:
        """Return the tags of a peer."""
        return self.tag_store.get_tag_info(peer_id)

    def protect(self, peer_id: ID, tag: str) -> None:
        """Protect a peer for a reason."""
        self.tag_store.protect(peer_id, tag)

    def unprotect(self, peer_id: ID, tag: str) -> bool:
        """Withdraw one reason for protecting a peer; return whether another remains."""
        return bool(self.tag_store.unprotect(peer_id, tag))

    def is_protected(self, peer_id: ID, tag: str = "") -> bool:
        """Return whether a peer is protected."""
        return bool(self.tag_store.is_protected(peer_id, tag))

    def get_conn_mgr_info(self) -> CMInfo:
        """Return the number of connections and its limit."""
        return CMInfo(
            low_watermark=self._most_connections,
            high_watermark=self._most_connections,
            connected_count=self.get_total_connections(),
            grace_period=0.0,
            last_trim=None,
        )

    def get_peer_health_summary(self, peer_id: ID) -> dict[str, Any]:
        """Return nothing, as the library does when it does not monitor connections."""
        return {}

    def get_global_health_summary(self) -> dict[str, Any]:
        """Return nothing, likewise."""
        return {}

    def export_health_metrics(self, format: str = "json") -> str:  # noqa: A002 - the library's name
        """Return nothing, likewise."""
        return "{}" if format == "json" else ""

    async def get_health_monitor_status(self) -> dict[str, Any]:
        """Report that the library does not monitor connections: the host does."""
        return {"enabled": False}
