"""Streams of services, with limits on their bytes."""

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
    """Limits on the use of a service.

    Parameters
    ----------
    streams, streams_per_peer : int
        Simultaneous streams, in total and of one peer. A quarter is reserved for peers with standing.
    streams_per_second : float
        Average rate at which one peer may open streams; bursts of four seconds' worth are allowed.
    bytes : int
        Bytes on a stream, in both directions together.
    bytes_per_second : float
        Average rate of one peer on all its streams; bursts of four seconds' worth are allowed.
    seconds : float
        Lifetime of a stream.
    """

    streams: int = 32
    streams_per_peer: int = 4
    streams_per_second: float = 4.0
    bytes: int = 256 * 1024
    bytes_per_second: float = 64 * 1024.0
    seconds: float = 30.0


class ServiceStream:
    """A stream of a service, to be read and written in pieces of any size within limits.

    Parameters
    ----------
    share : TokenBucket
        The peer's allowance of bytes a second.
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
            The stream has exceeded its bytes.
        StreamFailure
            The stream or its connection ended.
        """
        try:
            data = await self._stream.read_some(most)
        except StreamEnded:
            return b""
        await self._spend(len(data))
        return data

    async def read_exactly(self, size: int) -> bytes:
        """Return the next `size` bytes; raise `StreamEnded` if the other side finishes first."""
        await self._spend(size)
        return await self._stream.read_exactly(size)

    async def write(self, data: bytes) -> None:
        """Send all of `data`."""
        await self._spend(len(data))
        await self._stream.write(data)

    def finish(self) -> None:
        """Finish sending; reading remains possible."""
        self._stream.finish()

    def close(self) -> None:
        """Finish sending, and discard what still arrives."""
        self._stream.close()

    def reset(self) -> None:
        """Abandon the stream in both directions."""
        self._stream.reset()

    async def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise RateLimited(
                "a service stream carries too many bytes", expected=f"at most {self._most} bytes"
            )
        while not self._share.take(size, now=trio.current_time()):
            await trio.sleep(_HELD_SECONDS)
