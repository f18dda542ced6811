"""Idle streams kept for each neighbour: opening a stream costs a negotiation, reusing one does not.

Exchanges follow one another on a stream; simultaneous ones use several streams.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

from gossipfl.network.connection import Connection
from gossipfl.network.yamux.stream import Stream

__all__ = ["Lease", "Neighbour", "StreamPool"]


@dataclass(frozen=True, slots=True)
class Lease:
    """A stream for one exchange.

    Parameters
    ----------
    connection : Connection
        The connection of the stream.
    is_fresh : bool
        Whether the connection was made for this exchange; otherwise it may have died unnoticed.
    resumes : bool
        Whether the stream is for one exchange that is continued.
    """

    stream: Stream
    connection: Connection
    is_fresh: bool
    resumes: bool = False


@dataclass(slots=True)
class Neighbour:
    """Streams and locks of one neighbour.

    Parameters
    ----------
    turns : trio.Semaphore
        Limits simultaneous exchanges.
    dialling : trio.Lock
        Held while dialling, so that only one connection is made.
    idle : list of (Stream, Connection, float)
        Streams between exchanges, and since when; most recently used last.
    users : int
        Exchanges that use or wait for a stream.
    """

    turns: trio.Semaphore
    dialling: trio.Lock = field(default_factory=trio.Lock)
    idle: list[tuple[Stream, Connection, float]] = field(default_factory=list)
    users: int = 0


class StreamPool:
    """The neighbours of a host with their idle streams."""

    def __init__(self, *, streams_per_neighbour: int) -> None:
        self._streams_per_neighbour = streams_per_neighbour
        self._neighbours: dict[str, Neighbour] = {}

    def neighbour(self, peer_id: str) -> Neighbour:
        """Return the entry of a neighbour, a new one if necessary."""
        if peer_id not in self._neighbours:
            self._neighbours[peer_id] = Neighbour(turns=trio.Semaphore(self._streams_per_neighbour))
        return self._neighbours[peer_id]

    @staticmethod
    def take_idle(neighbour: Neighbour) -> Lease | None:
        """Take the most recently used stream on which an exchange may begin, if there is one."""
        while neighbour.idle:
            stream, connection, _ = neighbour.idle.pop()
            if stream.usable and connection.alive:
                return Lease(stream, connection, is_fresh=False)
            stream.reset()
        return None

    @staticmethod
    def give_back(neighbour: Neighbour, lease: Lease) -> None:
        """Keep the stream for the next exchange, if one may begin on it."""
        if lease.stream.usable and lease.connection.alive:
            neighbour.idle.append((lease.stream, lease.connection, trio.current_time()))
        else:
            lease.stream.reset()

    def sweep(self, *, idle_seconds: float) -> None:
        """Close streams that are unusable or have been idle too long, and forget neighbours without streams."""
        now = trio.current_time()
        for peer_id, neighbour in list(self._neighbours.items()):
            kept = []
            for entry in neighbour.idle:
                stream, connection, since = entry
                if stream.usable and connection.alive and now - since < idle_seconds:
                    kept.append(entry)
                else:
                    stream.close()
            neighbour.idle = kept
            if not kept and not neighbour.users:
                del self._neighbours[peer_id]
