"""Connections of a host, and the policy that limits them."""

from __future__ import annotations

from collections import Counter
from typing import Final, Protocol

import trio

from gossipfl.errors import ConnectionRefusedByPolicy
from gossipfl.network.addresses import prefix_of
from gossipfl.network.connection import Connection
from gossipfl.network.failures import ConnectionAborted
from gossipfl.network.limits import NetworkLimits
from gossipfl.network.standing import Standing

__all__ = ["ConnectionTable", "Watcher"]

# A connection without an exchange for this long may be dropped for another.
_IDLE_SECONDS: Final = 5.0


class Watcher(Protocol):
    """An observer of a host's connections. It must neither wait nor fail."""

    def connected(self, connection: Connection) -> None:
        """Record a new connection."""

    def disconnected(self, connection: Connection) -> None:
        """Record that a connection has ended."""


class ConnectionTable:
    """Live connections by peer id, and accepted sockets by remote address.

    A quarter of the places is reserved for peers with standing. When places run out, idle connections without
    standing are dropped, first those from the network prefix that holds most of them.
    """

    def __init__(self, limits: NetworkLimits, standing: Standing) -> None:
        self._limits = limits
        self._standing = standing
        self._by_peer: dict[str, list[Connection]] = {}
        self._by_address: Counter[str] = Counter()
        #: Notified when connections begin and end.
        self.watchers: list[Watcher] = []

    def __len__(self) -> int:
        return sum(len(connections) for connections in self._by_peer.values())

    def peers(self) -> frozenset[str]:
        """Return the ids of all peers with a live connection."""
        return frozenset(peer_id for peer_id in self._by_peer if self.best(peer_id))

    def best(self, peer_id: str) -> Connection | None:
        """Return the connection to this peer that received something most recently, direct if any is, or None."""
        alive = [
            each for each in self._by_peer.get(peer_id, ()) if each.alive and not each.multiplexer.gone_away
        ]
        if len(alive) < 2:
            return alive[0] if alive else None
        return max(alive, key=lambda each: (each.remote_endpoint is not None, each.last_heard))

    def of_peer(self, peer_id: str) -> list[Connection]:
        """Return all connections to this peer."""
        return list(self._by_peer.get(peer_id, ()))

    def all(self) -> list[Connection]:
        """Return all connections."""
        return [each for connections in self._by_peer.values() for each in connections]

    def admit_socket(self, address: str) -> None:
        """Count an accepted socket, until `release_socket`.

        Raises
        ------
        ConnectionRefusedByPolicy
            There are too many from this address.
        """
        most = self._limits.connections_per_address
        if self._by_address[address] >= most:
            raise ConnectionRefusedByPolicy(
                "this address has too many connections", expected=f"at most {most}"
            )
        self._by_address[address] += 1

    def release_socket(self, address: str) -> None:
        """Stop counting an accepted socket."""
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]

    def add(self, connection: Connection) -> None:
        """Add a connection. A peer with too many loses the one that has been silent longest.

        A peer that restarted is thus not locked out by its own dead connections.

        Raises
        ------
        ConnectionRefusedByPolicy
            There are too many connections in total, and none may be dropped.
        """
        own = self._by_peer.get(connection.peer_id, [])
        if len(own) >= self._limits.connections_per_peer:
            oldest = min(own, key=lambda each: each.last_heard)
            self._drop(oldest, "the peer made too many connections")
        else:
            self._make_room(connection)
        self._by_peer.setdefault(connection.peer_id, []).append(connection)
        for watcher in self.watchers:
            watcher.connected(connection)

    def remove(self, connection: Connection) -> None:
        """Forget a connection."""
        own = self._by_peer.get(connection.peer_id, [])
        if connection in own:
            own.remove(connection)
            if not own:
                del self._by_peer[connection.peer_id]
            for watcher in self.watchers:
                watcher.disconnected(connection)

    def _make_room(self, newcomer: Connection) -> None:
        most = self._limits.connections
        strangers = [each for each in self.all() if not self._is_valued(each)]
        is_valued = self._is_valued(newcomer)
        if len(self) < most and (is_valued or len(strangers) < most - most // 4):
            return
        now = trio.current_time()
        crowds = Counter(prefix_of(each.remote_address) for each in strangers)
        own_crowd = crowds[prefix_of(newcomer.remote_address)]
        giving_way = [
            each
            for each in strangers
            if is_valued
            or (
                not each.exchanges
                and (
                    now - each.last_exchange > _IDLE_SECONDS
                    or crowds[prefix_of(each.remote_address)] > own_crowd
                )
            )
        ]
        if not giving_way:
            raise ConnectionRefusedByPolicy("there are too many connections", expected=f"at most {most}")
        least = min(
            giving_way,
            key=lambda each: (
                bool(each.exchanges),
                -crowds[prefix_of(each.remote_address)],
                each.last_exchange,
            ),
        )
        self._drop(least, "its place was needed for another peer")

    def _is_valued(self, connection: Connection) -> bool:
        """Return whether a place is reserved for the connection: this side dialled, or its peer has standing."""
        return connection.is_initiator or self._standing.is_valued(connection.peer_id)

    def _drop(self, connection: Connection, why: str) -> None:
        connection.abort(ConnectionAborted(why))
        self.remove(connection)
