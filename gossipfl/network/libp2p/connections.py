"""Connections with the library's interfaces for network and multiplexed connections."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NoReturn

import trio
from libp2p.abc import ConnectionType, IMuxedConn, INetConn
from libp2p.peer.id import ID
from libp2p.rcmgr import Direction
from libp2p.stream_muxer.exceptions import MuxedConnUnavailable
from multiaddr import Multiaddr

from gossipfl.network.connection import Connection
from gossipfl.network.libp2p.streams import LibraryStream

__all__ = ["LibraryConnection"]


class LibraryConnection(INetConn, IMuxedConn):
    """A connection of this project's host.

    Parameters
    ----------
    open_stream : callable
        Opens a stream whose protocol is still to be negotiated.
    """

    def __init__(
        self,
        connection: Connection,
        open_stream: Callable[[LibraryConnection], Awaitable[LibraryStream]],
    ) -> None:
        self.connection = connection
        self.peer_id = ID.from_base58(connection.peer_id)
        self.streams: set[LibraryStream] = set()
        self.event_started = trio.Event()
        self.event_started.set()
        self.event_closed = trio.Event()
        self.direction = Direction.OUTBOUND if connection.is_initiator else Direction.INBOUND
        self._open_stream = open_stream
        self._addresses: list[Multiaddr] | None = None
        self._type = ConnectionType.DIRECT
        if connection.remote_endpoint is None:  # a circuit that this side dialled
            self.set_transport_info([Multiaddr("/p2p-circuit")], ConnectionType.RELAYED)

    @property
    def muxed_conn(self) -> LibraryConnection:
        """The multiplexed connection, which is this same object."""
        return self

    @property
    def is_initiator(self) -> bool:
        """Whether this side dialled."""
        return self.connection.is_initiator

    @property
    def is_established(self) -> bool:
        """Whether streams can be opened."""
        return self.connection.alive

    @property
    def is_closed(self) -> bool:
        """Whether the connection is gone."""
        return not self.connection.alive

    async def start(self) -> None:
        """Do nothing: the host runs its connections."""

    async def close(self) -> None:
        """Send a GO_AWAY, briefly wait for it to leave, and drop the connection."""
        await self.connection.close()

    async def new_stream(self) -> LibraryStream:
        """Open a stream whose protocol is still to be negotiated."""
        return await self._open_stream(self)

    async def open_stream(self) -> LibraryStream:
        """Open a stream whose protocol is still to be negotiated."""
        return await self._open_stream(self)

    async def accept_stream(self) -> NoReturn:
        """Refuse: streams opened by the other side go to the handlers of their protocols."""
        raise MuxedConnUnavailable("streams go to the handlers of their protocols")

    def get_streams(self) -> tuple[LibraryStream, ...]:
        """Return the open streams."""
        return tuple(self.streams)

    def get_remote_address(self) -> tuple[str, int] | None:
        """Return the IP address and port of the other side, or its relay's address and 0."""
        endpoint = self.connection.remote_endpoint
        if endpoint is None:
            return (self.connection.remote_address, 0)
        return (endpoint.host, endpoint.port)

    def get_transport_addresses(self) -> list[Multiaddr]:
        """Return the address of the other side: its relay's, with ``/p2p-circuit``, if it is relayed."""
        if self._addresses is not None:
            return self._addresses
        endpoint = self.connection.remote_endpoint
        return [] if endpoint is None else [Multiaddr(str(endpoint))]

    def get_connection_type(self) -> ConnectionType:
        """Return whether the connection is direct or relayed."""
        return self._type

    def set_transport_info(self, addresses: list[Multiaddr], conn_type: ConnectionType) -> None:
        """Record the other side's addresses, and how it was reached."""
        self._addresses, self._type = addresses, conn_type
