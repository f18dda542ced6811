"""The library's network over one of this project's hosts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import trio
from libp2p.abc import ConnectionType, IPeerStore, IRawConnection
from libp2p.crypto.ed25519 import Ed25519PrivateKey
from libp2p.crypto.keys import KeyPair
from libp2p.io.exceptions import IOException
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore, PeerStoreError
from multiaddr import Multiaddr

from gossipfl.errors import GossipflError
from gossipfl.network.addresses import Hearsay, Scope
from gossipfl.network.connection import Connection
from gossipfl.network.dialling import DialManner
from gossipfl.network.failures import StreamFailure
from gossipfl.network.host import Host
from gossipfl.network.identity import Identity
from gossipfl.network.libp2p.addresses import Listened, advertised, hearsay
from gossipfl.network.libp2p.bookkeeping import Bookkeeping
from gossipfl.network.libp2p.connections import LibraryConnection
from gossipfl.network.libp2p.relayed import open_socket
from gossipfl.network.libp2p.streams import LibraryStream
from gossipfl.network.log_limits import limited_logger
from gossipfl.network.service_streams import ServiceLimits, ServiceStream

__all__ = ["LibraryNetwork"]

StreamHandler = Callable[[LibraryStream], Awaitable[None]]
_log = limited_logger(__name__)


class LibraryNetwork(Bookkeeping):
    """The connections and services of a host.

    All addresses that the library dials are hearsay: none of a narrower scope than `narrowest` is dialled, and
    none more often than the host dials hearsay.

    Parameters
    ----------
    identity : Identity
        The host's own.
    limits : ServiceLimits
        Limits of each of the library's services.
    limits_of : mapping of str to ServiceLimits
        Limits of single protocols instead.
    nursery : trio.Nursery
        Runs relayed connections and notifications.
    """

    def __init__(
        self,
        host: Host,
        identity: Identity,
        *,
        limits: ServiceLimits,
        limits_of: Mapping[str, ServiceLimits],
        narrowest: Scope,
        nursery: trio.Nursery,
    ) -> None:
        super().__init__(nursery, most_connections=host.limits.connections)
        self._host = host
        self._limits = limits
        self._limits_of = limits_of
        self._narrowest = narrowest
        self._offered: set[str] = set()
        self._known: dict[Connection, LibraryConnection] = {}
        self.connections: dict[ID, list[LibraryConnection]] = {}
        self.listeners = {"tcp": Listened(host.reachability)}
        self.peerstore: IPeerStore = PeerStore()
        private = Ed25519PrivateKey.new(identity.seed)
        self._peer_id = ID.from_base58(host.peer_id)
        self.peerstore.add_key_pair(self._peer_id, KeyPair(private, private.get_public_key()))
        host.connections.watchers.append(self)
        for connection in host.connections.all():
            self.connected(connection)

    # Services

    def offer(self, protocol: str, handler: StreamHandler) -> None:
        """Start answering a protocol by the library's handler, within limits."""

        async def handle(stream: ServiceStream) -> None:
            taken = LibraryStream(stream, self._known[stream.connection])
            try:
                await handler(taken)
                if not taken.is_at_end:  # a handler, such as a relay's, may pass its stream on
                    await taken.ended.wait()
            except IOException as error:
                _log.debug("a stream of %s ended: %s", protocol, error)
            finally:
                await taken.close()
            if taken.refusal is not None:
                raise taken.refusal

        self._host.services.offer(protocol, handle, self._limits_of.get(protocol, self._limits))
        self._offered.add(protocol)

    def withdraw(self, protocol: str) -> None:
        """Stop answering a protocol by the library's handler."""
        if protocol in self._offered:
            self._offered.remove(protocol)
            self._host.services.withdraw(protocol)

    async def open(self, peer_id: ID, protocols: Sequence[str]) -> LibraryStream:
        """Open a stream and negotiate one of several protocols; without any, negotiate nothing.

        Raises
        ------
        SwarmException
            The peer cannot be reached, or speaks none of them.
        """
        limits = self._limits_of.get(protocols[0], self._limits) if protocols else self._limits
        try:
            stream = await self._host.services.open(
                str(peer_id), protocols, addresses=self._addresses(peer_id), limits=limits
            )
        except GossipflError as error:
            raise SwarmException(str(error)) from error
        return LibraryStream(stream, self._of(stream.connection))

    async def new_stream(self, peer_id: ID) -> LibraryStream:
        """Open a stream whose protocol is still to be negotiated."""
        return await self.open(peer_id, ())

    def set_stream_handler(self, stream_handler: StreamHandler) -> None:
        """Do nothing: streams go to the handler of the protocol that the host has negotiated."""

    def advertised(self, known: Sequence[Multiaddr]) -> list[Multiaddr]:
        """Return the library's addresses, then the host's own; only the configured ones, if there are any."""
        return advertised(self._host.reachability, known)

    # Connections

    def get_peer_id(self) -> ID:
        """Return the host's peer id."""
        return self._peer_id

    def get_connections(self, peer_id: ID | None = None) -> list[LibraryConnection]:
        """Return all connections, or those with one peer."""
        if peer_id is not None:
            return list(self.connections.get(peer_id, ()))
        return [each for own in self.connections.values() for each in own]

    def get_connections_map(self) -> dict[ID, list[LibraryConnection]]:
        """Return all connections by peer."""
        return {peer_id: list(own) for peer_id, own in self.connections.items()}

    def get_connection(self, peer_id: ID) -> LibraryConnection | None:
        """Return a connection with a peer, if there is one."""
        return next(iter(self.connections.get(peer_id, ())), None)

    def get_total_connections(self) -> int:
        """Count connections."""
        return len(self._known)

    def get_metrics(self) -> dict[str, int]:
        """Count connections by which side dialled."""
        outbound = sum(each.is_initiator for each in self._known.values())
        total = len(self._known)
        return {"total": total, "inbound": total - outbound, "outbound": outbound}

    def connected(self, connection: Connection) -> None:
        """Record a new connection of the host."""
        known = self._known[connection] = LibraryConnection(connection, self._open_on)
        self.connections.setdefault(known.peer_id, []).append(known)
        self.notify("connected", known)

    def disconnected(self, connection: Connection) -> None:
        """Record that a connection of the host has ended."""
        gone = self._known.pop(connection)
        own = self.connections[gone.peer_id]
        own.remove(gone)
        if not own:
            del self.connections[gone.peer_id]
        gone.event_closed.set()
        self.notify("disconnected", gone)

    async def dial_peer(self, peer_id: ID) -> list[LibraryConnection]:
        """Connect to a peer, unless it is connected.

        Raises
        ------
        SwarmException
            It cannot be reached at any of the addresses in the peer store.
        """
        addresses = self._addresses(peer_id)
        try:
            return [self._of(await self._host.services.connection(str(peer_id), addresses))]
        except GossipflError as error:
            raise SwarmException(str(error)) from error

    async def dial_addr(
        self, addr: Multiaddr, peer_id: ID, source: tuple[str, int] | None = None
    ) -> LibraryConnection:
        """Make another connection to a peer at one address, optionally from a port that this host listens at.

        Raises
        ------
        SwarmException
            It cannot be reached there.
        """
        return await self._dial(addr, peer_id, DialManner(source=source))

    async def dial_addr_as_responder(
        self, addr: Multiaddr, peer_id: ID, source: tuple[str, int] | None = None
    ) -> LibraryConnection:
        """Make another connection to a peer that dials simultaneously and acts as the dialler.

        Raises
        ------
        SwarmException
            It cannot be reached there, or another peer answers.
        """
        return await self._dial(addr, peer_id, DialManner(source=source, answers=True))

    async def upgrade_outbound_raw_conn(self, raw_conn: IRawConnection, peer_id: ID) -> LibraryConnection:
        """Connect to a peer over a raw connection, such as a relayed stream."""
        return await self._carry(raw_conn, str(peer_id))

    async def upgrade_inbound_raw_conn(self, raw_conn: IRawConnection, maddr: Multiaddr) -> LibraryConnection:
        """Accept a connection from the other end of a raw connection."""
        return await self._carry(raw_conn, None)

    async def close_peer(self, peer_id: ID) -> None:
        """Close all connections to a peer."""
        for each in self.get_connections(peer_id):
            await each.close()

    async def close(self) -> None:
        """Withdraw all of the library's protocols. The host stays open."""
        for protocol in tuple(self._offered):
            self.withdraw(protocol)
        if self in self._host.connections.watchers:
            self._host.connections.watchers.remove(self)

    def _addresses(self, peer_id: ID) -> list[Hearsay]:
        try:
            return hearsay(self.peerstore.addrs(peer_id), self._narrowest)
        except PeerStoreError:
            return []

    async def _dial(self, addr: Multiaddr, peer_id: ID, manner: DialManner) -> LibraryConnection:
        try:
            connection = await self._host.services.dial(
                str(peer_id), hearsay([addr], self._narrowest), manner
            )
        except GossipflError as error:
            raise SwarmException(str(error)) from error
        return self._of(connection)

    async def _carry(self, raw: IRawConnection, expected_peer: str | None) -> LibraryConnection:
        remote = raw.get_remote_address()
        try:
            connection = await self._host.carry(
                open_socket(raw, self._nursery),
                remote_address="0.0.0.0" if remote is None else remote[0],  # noqa: S104 - nowhere
                expected_peer=expected_peer,
            )
        except (GossipflError, StreamFailure) as error:
            raise SwarmException(str(error)) from error
        carried = self._of(connection)
        carried.set_transport_info(raw.get_transport_addresses(), ConnectionType.RELAYED)
        return carried

    def _of(self, connection: Connection) -> LibraryConnection:
        if connection not in self._known:
            raise SwarmException("the connection is gone")
        return self._known[connection]

    async def _open_on(self, connection: LibraryConnection) -> LibraryStream:
        return await self.open(connection.peer_id, ())
