"""All connections of a host, and who may have another."""

from __future__ import annotations

from collections import Counter

from gossipfl.errors import ConnectionRefusedByPolicy
from gossipfl.network.connection import Connection
from gossipfl.network.failures import ConnectionAborted
from gossipfl.network.limits import NetworkLimits

__all__ = ["ConnectionTable"]


class ConnectionTable:
    """Live connections by peer id, and sockets by remote address from accepting to closing.

    Parameters
    ----------
    limits : NetworkLimits
    """

    def __init__(self, limits: NetworkLimits) -> None:
        self._limits = limits
        self._by_peer: dict[str, list[Connection]] = {}
        self._by_address: Counter[str] = Counter()
        self._handshakes: Counter[str] = Counter()

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
            There are too many, in all or from this address.
        """
        limits = self._limits
        handshakes = self._handshakes.total()
        if self._by_address[address] >= limits.connections_per_address:
            raise ConnectionRefusedByPolicy(
                "this address has too many connections", expected=f"at most {limits.connections_per_address}"
            )
        # Half the places are for others: one address must not shut out all newcomers.
        if 2 * self._handshakes[address] >= limits.handshakes or handshakes >= limits.handshakes:
            raise ConnectionRefusedByPolicy(
                "too many connections have not proved who they are", expected=f"at most {limits.handshakes}"
            )
        if len(self) + handshakes >= limits.connections:
            raise ConnectionRefusedByPolicy(
                "there are too many connections", expected=f"at most {limits.connections}"
            )
        self._by_address[address] += 1
        self._handshakes[address] += 1

    def end_handshake(self, address: str) -> None:
        """Note that an accepted socket's handshake has ended, well or not."""
        self._handshakes[address] -= 1
        if not self._handshakes[address]:
            del self._handshakes[address]

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
            There are too many connections in all.
        """
        own = self._by_peer.get(connection.peer_id, [])
        if len(own) >= self._limits.connections_per_peer:
            oldest = min(own, key=lambda each: each.last_heard)
            oldest.abort(ConnectionAborted("the peer made too many connections"))
            self.remove(oldest)
        elif len(self) >= self._limits.connections:
            raise ConnectionRefusedByPolicy(
                "there are too many connections", expected=f"at most {self._limits.connections}"
            )
        self._by_peer.setdefault(connection.peer_id, []).append(connection)

    def remove(self, connection: Connection) -> None:
        """Forget a connection."""
        own = self._by_peer.get(connection.peer_id, [])
        if connection in own:
            own.remove(connection)
            if not own:
                del self._by_peer[connection.peer_id]
