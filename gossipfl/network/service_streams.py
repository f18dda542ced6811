"""Streams of services: bytes in any portions, within limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import trio

from gossipfl.errors import RateLimited
from gossipfl.network.connection import Connection
from gossipfl.network.failures import StreamEnded
from gossipfl.network.rates import TokenBucket
from gossipfl.network.yamux.stream import Stream

__all__ = ["ServiceLimits", "ServiceStream"]

_HELD_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceLimits:
    """How much peers get of a service.

    Parameters
    ----------
    streams, streams_per_peer : int
        Streams at a time, in all and of one peer. A quarter is kept for peers of standing.
    streams_per_second : float
        Streams that one peer may open, on average; four seconds' worth may come at once.
    bytes : int
        Bytes on a stream, both ways together.
    bytes_per_second : float
        Bytes of one peer on all its streams, on average; four seconds' worth may come at once.
    seconds : float
        For a stream, from opening to its end.
    """

    streams: int = 32
    streams_per_peer: int = 4
    streams_per_second: float = 4.0
    bytes: int = 256 * 1024
    bytes_per_second: float = 64 * 1024.0
    seconds: float = 30.0


class ServiceStream:
    """A stream as a service has it: bytes in any portions, within limits.

    Parameters
    ----------
    connection : Connection
    stream : Stream
    protocol : str
    limits : ServiceLimits
    share : TokenBucket
        What the peer has left of its bytes a second.
    """

    def __init__(
        self,
        connection: Connection,
        stream: Stream,
        *,
        protocol: str,
        limits: ServiceLimits,
        share: TokenBucket,
    ) -> None:
        self.connection = connection
        self.protocol = protocol
        self._stream = stream
        self._most = self._left = limits.bytes
        self._share = share

    @property
    def is_open(self) -> bool:
        """Whether anything can be sent."""
        return not (self._stream.closed or self._stream.finished) and self._stream.failure is None

    async def read_some(self, most: int) -> bytes:
        """Return the next bytes, at most `most`, or none once the other side has finished.

        Raises
        ------
        RateLimited
            The stream carries too much.
        StreamFailure
            The stream, or its connection, went away.
        """
        try:
            data = await self._stream.read_some(most)
        except StreamEnded:
            return b""
        await self._spend(len(data))
        return data

    async def read_exactly(self, size: int) -> bytes:
        """Return the next `size` bytes; raise `StreamEnded` if the other side finishes before."""
        await self._spend(size)
        return await self._stream.read_exactly(size)

    async def write(self, data: bytes) -> None:
        """Send all of `data`."""
        await self._spend(len(data))
        await self._stream.write(data)

    def finish(self) -> None:
        """Say that no more will be sent. What still comes can be read."""
        self._stream.finish()

    def close(self) -> None:
        """Say that no more will be sent, and discard what still comes."""
        self._stream.close()

    def reset(self) -> None:
        """Give the stream up in both directions."""
        self._stream.reset()

    async def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise RateLimited(
                "a stream of a service carries too much", expected=f"at most {self._most} bytes"
            )
        while not self._share.take(size, now=trio.current_time()):
            await trio.sleep(_HELD_SECONDS)
