"""Traffic, refusal and failure counters of a host."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from gossipfl.errors import GossipflError

__all__ = ["NetworkCounters"]


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
    """

    messages_sent: int = 0
    messages_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    connections_dialled: int = 0
    connections_accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)

    def to_dict(self) -> dict[str, int | dict[str, int]]:
        """Return all counts as plain values, by the names above."""
        return {
            name: dict(value) if isinstance(value := getattr(self, name), Counter) else value
            for name in self.__dataclass_fields__
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

    def count_sent(self, size: int) -> None:
        """Count a message of `size` bytes that was sent."""
        self.messages_sent += 1
        self.bytes_sent += size

    def count_received(self, size: int) -> None:
        """Count a message of `size` bytes that was received."""
        self.messages_received += 1
        self.bytes_received += size
