"""The library's host over one of this project's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import trio
from libp2p.host.basic_host import BasicHost
from libp2p.host.exceptions import StreamFailure
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID
from multiaddr import Multiaddr

from gossipfl.network.addresses import Scope
from gossipfl.network.host import Host
from gossipfl.network.identity import Identity
from gossipfl.network.libp2p.network import LibraryNetwork, StreamHandler
from gossipfl.network.libp2p.streams import LibraryStream
from gossipfl.network.service_streams import ServiceLimits
from gossipfl.nurseries import background_nursery

__all__ = ["LibraryHost", "open_library_host"]


class LibraryHost(BasicHost):
    """A host with the library's interfaces; made by `open_library_host`.

    Protocols are negotiated by this project's host, which bounds the negotiation, not by the library.
    """

    def __init__(self, network: LibraryNetwork) -> None:
        super().__init__(network, addrs_factory=network.advertised)
        self._library_network = network
        for protocol, handler in self.multiselect.handlers.items():
            network.offer(str(protocol), handler)

    def set_stream_handler(self, protocol_id: str, stream_handler: StreamHandler) -> None:
        """Start answering a protocol."""
        super().set_stream_handler(protocol_id, stream_handler)
        self._library_network.offer(str(protocol_id), stream_handler)

    def remove_stream_handler(self, protocol_id: str) -> None:
        """Stop answering a protocol."""
        super().remove_stream_handler(protocol_id)
        self._library_network.withdraw(str(protocol_id))

    async def new_stream(self, peer_id: ID, protocol_ids: Sequence[str]) -> LibraryStream:
        """Open a stream to a peer for one of several protocols.

        Raises
        ------
        StreamFailure
            It cannot be reached, or speaks none of them.
        """
        try:
            return await self._library_network.open(peer_id, [str(each) for each in protocol_ids])
        except SwarmException as error:
            raise StreamFailure(f"failed to open a stream to peer {peer_id}: {error}") from error

    def run(
        self, listen_addrs: Sequence[Multiaddr], *, task_status: object = trio.TASK_STATUS_IGNORED
    ) -> AbstractAsyncContextManager[None]:
        """Do nothing during an ``async with`` block, since the host is already running; refuse addresses."""

        @asynccontextmanager
        async def already_running() -> AsyncIterator[None]:
            await self._library_network.listen(*listen_addrs)
            yield

        return already_running()


@asynccontextmanager
async def open_library_host(
    host: Host,
    identity: Identity,
    *,
    limits: ServiceLimits | None = None,
    limits_of: Mapping[str, ServiceLimits] | None = None,
    narrowest: Scope = Scope.GLOBAL,
) -> AsyncIterator[LibraryHost]:
    """Give a host the library's interfaces for the duration of a ``with`` block.

    The library's identify and ping replace the host's own. Importing the library changes the logging setup, so
    configure logging first.

    Parameters
    ----------
    identity : Identity
        The host's own.
    limits : ServiceLimits, optional
        Limits of each of the library's services.
    limits_of : mapping of str to ServiceLimits, optional
        Limits of single protocols instead.
    narrowest : Scope, optional
        Narrowest scope that the library may dial, since its addresses are hearsay; on a LAN, `Scope.PRIVATE`.
    """
    async with background_nursery() as nursery:
        network = LibraryNetwork(
            host,
            identity,
            limits=limits or ServiceLimits(),
            limits_of=limits_of or {},
            narrowest=narrowest,
            nursery=nursery,
        )
        library = LibraryHost(network)
        try:
            yield library
        finally:
            with trio.CancelScope(shield=True):
                await library.close()
