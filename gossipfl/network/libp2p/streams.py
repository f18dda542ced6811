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
    """A stream of a service.

    Parameters
    ----------
    stream : ServiceStream
    connection : LibraryConnection
    """

    #: Nobody is told of pings.
    metric_send_channel = None

    def __init__(self, stream: ServiceStream, connection: LibraryConnection) -> None:
        self._stream = stream
        self._protocol: str | None = stream.protocol or None
        self.muxed_conn = self.swarm_conn = connection
        self.ended = trio.Event()
        #: Why this side gave the stream up, if it did for its limits.
        self.refusal: RateLimited | None = None
        connection.streams.add(self)

    def get_protocol(self) -> str | None:
        """Return what was agreed upon."""
        return self._protocol

    def set_protocol(self, protocol_id: str) -> None:
        """Note what was agreed upon."""
        self._protocol = protocol_id

    @property
    def is_closed(self) -> bool:
        """Whether the stream is of no more use."""
        return self.ended.is_set()

    def is_open(self) -> bool:
        """Say whether anything can be sent."""
        return self._stream.is_open

    def get_remote_peer_id(self) -> ID:
        """Return whose stream it is."""
        return self.muxed_conn.peer_id

    def get_remote_address(self) -> tuple[str, int] | None:
        """Return the IP address and the port of the other side."""
        return self.muxed_conn.get_remote_address()

    async def read(self, n: int | None = None) -> bytes:
        """Return at most `n` bytes; without a number, all until the other side ends.

        Raises
        ------
        StreamEOF
            The other side ended.
        StreamReset
            The stream, or its connection, went away, or carried too much.
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
            This side ended the stream.
        StreamReset
            As in `read`.
        """
        if not self.ended.is_set() and not self._stream.is_open:
            raise StreamClosed("this side ended the stream")
        try:
            await self._stream.write(data)
        except (StreamFailure, RateLimited) as failure:
            self._fail(failure)
            raise StreamReset(str(failure)) from failure

    async def close_write(self) -> None:
        """Say that no more will be sent."""
        self._stream.finish()

    async def close_read(self) -> None:
        """Read no more. The other side is not told: Yamux has no word for it."""

    async def close(self) -> None:
        """Say that no more will be sent, and read no more."""
        self._stream.close()
        self._leave()

    async def reset(self) -> None:
        """Give the stream up in both directions."""
        self._give_up()

    async def _read_some(self, most: int) -> bytes:
        if not most:
            return b""
        try:
            data = await self._stream.read_some(most)
        except (StreamFailure, RateLimited) as failure:
            self._fail(failure)
            raise StreamReset(str(failure)) from failure
        if not data:
            raise StreamEOF("the other side ended the stream")
        return data

    def _give_up(self) -> None:
        self._stream.reset()
        self._leave()

    def _fail(self, failure: StreamFailure | RateLimited) -> None:
        if isinstance(failure, RateLimited):
            self.refusal = failure
        self._give_up()

    def _leave(self) -> None:
        self.muxed_conn.streams.discard(self)
        self.ended.set()
