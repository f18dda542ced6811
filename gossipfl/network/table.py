"""Connections of a host, and who may have another."""

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

# Without an exchange for so long, a connection gives way to one that is wanted.
_IDLE_SECONDS: Final = 5.0


class Watcher(Protocol):
    """Whoever is told of a host's connections. It neither waits nor fails."""

    def came(self, connection: Connection) -> None:
        """Note that there is another connection."""

    def gone(self, connection: Connection) -> None:
        """Note that a connection is no more."""


class ConnectionTable:
    """Live connections by peer id, and sockets by remote address from accepting to closing.

    A quarter of the places is kept for peers of standing. When places run out, idle connections of strangers give
    way, those from the network prefix that has most of them first.

    Parameters
    ----------
    limits : NetworkLimits
    standing : Standing
    """

    def __init__(self, limits: NetworkLimits, standing: Standing) -> None:
        self._limits = limits
        self._standing = standing
        self._by_peer: dict[str, list[Connection]] = {}
        self._by_address: Counter[str] = Counter()
        #: Are told when connections come and go.
        self.watchers: list[Watcher] = []

    def __len__(self) -> int:
        return sum(len(connections) for connections in self._by_peer.values())

    def peers(self) -> frozenset[str]:
        """Return the ids of all peers with a live connection."""
        return frozenset(peer_id for peer_id in self._by_peer if self.best(peer_id))

    def best(self, peer_id: str) -> Connection | None:
        """Return the connection to this peer that was heard of last, or None."""
        alive = [
            each for each in self._by_peer.get(peer_id, ()) if each.alive and not each.multiplexer.gone_away
        ]
        return max(alive, key=lambda each: each.last_heard, default=None)

    def of_peer(self, peer_id: str) -> list[Connection]:
        """Return all connections to this peer."""
        return list(self._by_peer.get(peer_id, ()))

    def all(self) -> list[Connection]:
        """Return all connections."""
        return [each for connections in self._by_peer.values() for each in connections]

    def admit_socket(self, address: str) -> None:
        """Count a socket that was accepted; `release_socket` ends it.

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
        """Forget an accepted socket."""
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]

    def add(self, connection: Connection) -> None:
        """Add a connection. A peer with too many loses the one least recently heard of.

        So that a peer that restarted is not locked out by its own dead connections.

        Raises
        ------
        ConnectionRefusedByPolicy
            There are too many connections in all, and none gives way.
        """
        own = self._by_peer.get(connection.peer_id, [])
        if len(own) >= self._limits.connections_per_peer:
            oldest = min(own, key=lambda each: each.last_heard)
            self._drop(oldest, "the peer made too many connections")
        else:
            self._make_room(connection)
        self._by_peer.setdefault(connection.peer_id, []).append(connection)
        for watcher in self.watchers:
            watcher.came(connection)

    def remove(self, connection: Connection) -> None:
        """Forget a connection."""
        own = self._by_peer.get(connection.peer_id, [])
        if connection in own:
            own.remove(connection)
            if not own:
                del self._by_peer[connection.peer_id]
            for watcher in self.watchers:
                watcher.gone(connection)

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
        """Whether a place is kept for the connection: this side chose it, or its peer has some standing."""
        return connection.is_initiator or self._standing.is_valued(connection.peer_id)

    def _drop(self, connection: Connection, why: str) -> None:
        connection.abort(ConnectionAborted(why))
        self.remove(connection)
