"""Traffic, refusal and failure counters of a host."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from gossipfl.errors import GossipflError
from gossipfl.recent import RecentMap

__all__ = ["NetworkCounters", "PeerTraffic"]

_MOST_PEERS: Final = 1024


@dataclass(slots=True)
class PeerTraffic:
    """Traffic with one peer.

    Parameters
    ----------
    bytes_sent, bytes_received : int
        As in `NetworkCounters`.
    succeeded_at : float or None
        End of the last exchange that neither side refused, in seconds since 1970.
    """

    bytes_sent: int = 0
    bytes_received: int = 0
    succeeded_at: float | None = None


@dataclass(slots=True)
class NetworkCounters:
    """Counts since the host was opened; the host updates the object it is given.

    Parameters
    ----------
    messages_sent, messages_received : int
        Complete messages, both requests and replies; those received have also passed all checks.
    bytes_sent, bytes_received : int
        Bytes in the frames of these messages, excluding the overhead of Yamux, Noise and TCP.
    connections_dialled, connections_accepted : int
        Connections whose identity was proven.
    refused : Counter
        Refusals by this host, by the error's ``counter()``.
    failed : Counter
        Failed exchanges, by the error's ``counter()``.
    peers : RecentMap of str to PeerTraffic
        Traffic by peer id, of those heard most recently.
    """

    messages_sent: int = 0
    messages_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    connections_dialled: int = 0
    connections_accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    peers: RecentMap[str, PeerTraffic] = field(default_factory=lambda: RecentMap(_MOST_PEERS))

    def to_dict(self) -> dict[str, int | dict[str, int]]:
        """Return all counts but those by peer as plain values, by the names above."""
        return {
            name: dict(value) if isinstance(value := getattr(self, name), Counter) else value
            for name in self.__dataclass_fields__
            if name != "peers"
        }

    def count_connection(self, *, is_initiator: bool) -> None:
        """Count a connection by which side dialled."""
        if is_initiator:
            self.connections_dialled += 1
        else:
            self.connections_accepted += 1

    def count_refused(self, error: GossipflError) -> None:
        """Count a refusal by this host."""
        self.refused[error.counter()] += 1

    def count_failed(self, error: GossipflError) -> None:
        """Count a failed exchange."""
        self.failed[error.counter()] += 1

    def count_sent(self, size: int, *, peer_id: str) -> None:
        """Count a message of `size` bytes that was sent to a peer."""
        self.messages_sent += 1
        self.bytes_sent += size
        self._traffic(peer_id).bytes_sent += size

    def count_received(self, size: int, *, peer_id: str) -> None:
        """Count a message of `size` bytes that was received from a peer."""
        self.messages_received += 1
        self.bytes_received += size
        self._traffic(peer_id).bytes_received += size

    def count_success(self, *, peer_id: str) -> None:
        """Count an exchange with a peer that neither side refused."""
        self._traffic(peer_id).succeeded_at = time.time()

    def _traffic(self, peer_id: str) -> PeerTraffic:
        self.peers[peer_id] = traffic = self.peers.get(peer_id) or PeerTraffic()
        return traffic
