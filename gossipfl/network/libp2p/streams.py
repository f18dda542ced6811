"""Streams with the library's interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio
from libp2p.abc import INetStream
from libp2p.network.stream.exceptions import StreamClosed, StreamEOF, StreamReset
from libp2p.peer.id import ID

from gossipfl.errors import RateLimited
from gossipfl.network.failures import StreamFailure
from gossipfl.network.service_streams import ServiceStream

if TYPE_CHECKING:
    from gossipfl.network.libp2p.connections import LibraryConnection

__all__ = ["LibraryStream"]

_PIECE_BYTES: Final = 65_536


class LibraryStream(INetStream):
    """A stream of a service."""

    #: The library's ping metrics go nowhere.
    metric_send_channel = None

    def __init__(self, stream: ServiceStream, connection: LibraryConnection) -> None:
        self._stream = stream
        self._protocol: str | None = stream.protocol or None
        self.muxed_conn = self.swarm_conn = connection
        self.ended = trio.Event()
        #: Whether everything that the other side sent has been read.
        self.is_at_end = False
        #: The limit for which this side abandoned the stream, if any.
        self.refusal: RateLimited | None = None
        connection.streams.add(self)

    def get_protocol(self) -> str | None:
        """Return the negotiated protocol."""
        return self._protocol

    def set_protocol(self, protocol_id: str) -> None:
        """Record the negotiated protocol."""
        self._protocol = protocol_id

    @property
    def is_closed(self) -> bool:
        """Whether the stream has ended."""
        return self.ended.is_set()

    def is_open(self) -> bool:
        """Return whether anything can be sent."""
        return self._stream.is_open

    def get_remote_peer_id(self) -> ID:
        """Return the id of the peer at the other end."""
        return self.muxed_conn.peer_id

    def get_remote_address(self) -> tuple[str, int] | None:
        """Return the IP address and port of the other side."""
        return self.muxed_conn.get_remote_address()

    async def read(self, n: int | None = None) -> bytes:
        """Return at most `n` bytes; without `n`, everything until the other side ends.

        Raises
        ------
        StreamEOF
            The other side ended.
        StreamReset
            The stream or its connection ended, or a limit was exceeded.
        """
        if n is not None and n >= 0:
            return await self._read_some(n)
        whole = b""
        try:
            while True:
                whole += await self._read_some(_PIECE_BYTES)
        except StreamEOF:
            if whole:
                return whole
            raise

    async def write(self, data: bytes) -> None:
        """Send all of `data`.

        Raises
        ------
        StreamClosed
            This side has ended the stream.
        StreamReset
            As in `read`.
        """
        if not self.ended.is_set() and not self._stream.is_open:
            raise StreamClosed("this side has ended the stream")
        try:
            await self._stream.write(data)
        except (StreamFailure, RateLimited) as failure:
            self._fail(failure)
            raise StreamReset(str(failure)) from failure

    async def close_write(self) -> None:
        """Finish sending."""
        self._stream.finish()

    async def close_read(self) -> None:
        """Stop reading. The other side is not notified, since Yamux has no message for it."""

    async def close(self) -> None:
        """Finish sending, and stop reading."""
        self._stream.close()
        self._leave()

    async def reset(self) -> None:
        """Abandon the stream in both directions."""
        self._abandon()

    async def _read_some(self, most: int) -> bytes:
        if not most:
            return b""
        try:
            data = await self._stream.read_some(most)
        except (StreamFailure, RateLimited) as failure:
            self._fail(failure)
            raise StreamReset(str(failure)) from failure
        if not data:
            self.is_at_end = True
            raise StreamEOF("the other side has ended the stream")
        return data

    def _abandon(self) -> None:
        self._stream.reset()
        self._leave()

    def _fail(self, failure: StreamFailure | RateLimited) -> None:
        if isinstance(failure, RateLimited):
            self.refusal = failure
        self._abandon()

    def _leave(self) -> None:
        self.muxed_conn.streams.discard(self)
        self.ended.set()
