"""Idle streams kept per neighbour: a fresh stream costs a negotiation, a used one nothing.

One exchange follows another on a stream; several at a time take several streams.
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
    stream : Stream
    connection : Connection
        The one the stream belongs to.
    is_fresh : bool
        Whether its connection was made for this very exchange; otherwise it may have died unnoticed.
    """

    stream: Stream
    connection: Connection
    is_fresh: bool


@dataclass(slots=True)
class Neighbour:
    """What is kept of one neighbour.

    Parameters
    ----------
    turns : trio.Semaphore
        As many as exchanges may be under way.
    dialling : trio.Lock
        Held while a connection is being made, so that there is one and not several.
    idle : list of (Stream, Connection, float)
        Streams between exchanges, and since when; the last one used comes last.
    """

    turns: trio.Semaphore
    dialling: trio.Lock = field(default_factory=trio.Lock)
    idle: list[tuple[Stream, Connection, float]] = field(default_factory=list)
    users: int = 0


class StreamPool:
    """The neighbours of a host with their idle streams.

    Parameters
    ----------
    streams_per_neighbour : int
    """

    def __init__(self, *, streams_per_neighbour: int) -> None:
        self._streams_per_neighbour = streams_per_neighbour
        self._neighbours: dict[str, Neighbour] = {}

    def neighbour(self, peer_id: str) -> Neighbour:
        """Return what is kept of a neighbour."""
        if peer_id not in self._neighbours:
            self._neighbours[peer_id] = Neighbour(turns=trio.Semaphore(self._streams_per_neighbour))
        return self._neighbours[peer_id]

    @staticmethod
    def take_idle(neighbour: Neighbour) -> Lease | None:
        """Take the stream used last, if there is one on which an exchange may begin."""
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
        """Close streams that were idle too long or are of no more use, and forget neighbours without any."""
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
