"""Hosts: one peer's listeners, connections, exchanges and services, in one nursery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import trio

from gossipfl.errors import ConnectionRefusedByPolicy, GossipflError, PeerUnreachable
from gossipfl.membership import Threshold
from gossipfl.network.addresses import Hearsay, Scope, scope_of
from gossipfl.network.announcing import Announcer
from gossipfl.network.bans import Bans, breaks_protocol, weight_of
from gossipfl.network.bodies import BodyBuffers
from gossipfl.network.buffers import SharedBuffers
from gossipfl.network.connection import Connection
from gossipfl.network.counters import NetworkCounters
from gossipfl.network.dial_book import DialBook
from gossipfl.network.dialling import CircuitOpener, Dialler, DialManner
from gossipfl.network.exchanging import Exchanger, Renew
from gossipfl.network.failures import ConnectionAborted
from gossipfl.network.identify import Identify
from gossipfl.network.identity import Identity
from gossipfl.network.limits import NetworkLimits
from gossipfl.network.link import Link
from gossipfl.network.listening import Listening
from gossipfl.network.members import Members
from gossipfl.network.memory import RowMemory
from gossipfl.network.newcomers import Newcomers
from gossipfl.network.noise.upgrade import SecuredSocket, Upgrader
from gossipfl.network.pinging import PING_LIMITS, PING_PROTOCOL, answer_pings
from gossipfl.network.reachability import Reachability
from gossipfl.network.resolving import Resolver
from gossipfl.network.services import Services
from gossipfl.network.serving import Handler, Screen, Server
from gossipfl.network.standing import Standing
from gossipfl.network.table import ConnectionTable
from gossipfl.network.yamux.stream import Stream
from gossipfl.wire import AnyMessage, Expectation, Frame, PeerDescriptor

__all__ = ["Host"]


class Host:
    """A peer's presence on the network; made by `open_host`.

    Parameters
    ----------
    threshold : Threshold or None
        Door and charter; None if everyone is admitted and no settings are compared.
    nursery : trio.Nursery
        Holds all tasks of the host.
    """

    def __init__(
        self,
        *,
        identity: Identity,
        expectation: Expectation,
        limits: NetworkLimits,
        counters: NetworkCounters,
        threshold: Threshold | None,
        reachability: Reachability,
        nursery: trio.Nursery,
    ) -> None:
        self.peer_id = identity.peer_id
        self.sign = identity.sign
        self.reachability = reachability
        self.chosen_ports: Mapping[str, int] = {}
        self._announcer = Announcer(identity=identity, addresses=lambda: self.addresses)
        self.limits = limits
        self.counters = counters
        self._nursery = nursery
        self._buffers = SharedBuffers()
        self.link = Link()
        self._bans = Bans(
            offences_before_ban=limits.offences_before_ban,
            first_ban_seconds=limits.first_ban_seconds,
            longest_ban_seconds=limits.longest_ban_seconds,
        )
        self.standing = Standing()
        self.connections = self._table = ConnectionTable(limits, self.standing)
        self.members = Members(threshold, table=self._table, counters=counters)
        self._newcomers = Newcomers(places=limits.handshakes)
        knocks = self.members.knocks
        self._upgrader = Upgrader(
            identity=identity, admit=self._may_connect, threshold=threshold, on_turned_away=knocks.note
        )
        self._dialler = Dialler(
            upgrader=self._upgrader,
            resolver=Resolver(seconds=limits.resolve_seconds),
            book=DialBook(
                dials_per_second=limits.dials_per_second, dials_per_address=limits.dials_per_address
            ),
            seconds=limits.dial_seconds,
        )
        self.services = Services(
            limits=limits,
            standing=self.standing,
            find_connection=self._table.best,
            connect=self._connect,
            refuse=self._refuse,
        )
        self.services.offer(PING_PROTOCOL, answer_pings, PING_LIMITS)
        self.identify = Identify(
            peer_id=self.peer_id,
            services=self.services,
            addresses=reachability.addresses,
            observed=lambda host, observer: self.observed(host, observer=observer),
        )
        bodies = BodyBuffers()
        self.memory = RowMemory(limits.inbound_bytes)
        self._server = Server(
            limits=limits,
            expectation=expectation,
            counters=counters,
            bodies=bodies,
            standing=self.standing,
            link=self.link,
            services=self.services,
            punish=self._punish,
            memory=self.memory,
        )
        self._exchanger = Exchanger(
            limits=limits,
            expectation=expectation,
            counters=counters,
            bodies=bodies,
            link=self.link,
            find_connection=self._table.best,
            connect=self._connect,
            refuse=self._refuse,
        )

    @property
    def addresses(self) -> tuple[str, ...]:
        """Multiaddresses at which others can reach this host now."""
        return tuple(f"{address}/p2p/{self.peer_id}" for address in self.reachability.addresses())

    async def exchange(
        self,
        peer_id: str,
        addresses: Sequence[str | Hearsay],
        frame: Frame,
        *,
        seconds: float | None = None,
        answer_bytes: int | None = None,
        renew: Renew | None = None,
    ) -> AnyMessage:
        """Send a frame to a peer and return its reply.

        Uses an existing connection, whichever side made it, or dials. May be called by several tasks at a time,
        and cancelled at any moment: only this exchange is lost.

        Parameters
        ----------
        addresses : sequence of str or Hearsay
            Multiaddresses to dial if necessary, the most likely first.
        frame : Frame
            Must not change until this returns.
        seconds : float, optional
            Time from dialling to the validated reply, besides that for large rows, which follows from the
            throughput of the path; `NetworkLimits.exchange_seconds` by default.
        answer_bytes : int, optional
            Bytes of the row that will probably answer, so that others do not take up the link meanwhile; 0 if
            none was asked for, and an answer with one is refused.
        renew : callable, optional
            Called when a large model is continued because its connection broke, with the share of it that
            remains; returns another frame if that is worth more.

        Raises
        ------
        PeerUnreachable
            No connection could be made.
        ExchangeTimedOut
        PeerBusy, RefusedByNeighbour
            The neighbour refused, and named the reason, or when to try again.
        ExchangeFailed
            The connection or the stream ended during the exchange.
        MessageRefused
            The reply was refused here.
        """
        return await self._exchanger.exchange(
            peer_id, addresses, frame, seconds=seconds, answer_bytes=answer_bytes, renew=renew
        )

    def serve(self, handler: Handler, *, screen: Screen | None = None) -> None:
        """Answer others' exchanges from now on; before that, they get `PeerBusy`.

        Parameters
        ----------
        handler : callable
            ``await handler(peer_id, message)`` returns the frame to reply with. It is called once the message
            is completely received and validated. If it raises `MessageRefused` or `PeerBusy`, the other peer
            receives that error's code. It is cancelled if the connection ends or the exchange times out.
        screen : callable, optional
            ``screen(peer_id, header)`` may raise the same errors to refuse a message before its body is read.
        """
        self._server.handler, self._server.screen = handler, screen

    def connected(self) -> frozenset[str]:
        """Return the ids of all peers with a live connection."""
        return self._table.peers()

    def announcement(self) -> PeerDescriptor:
        """Return this host's own signed announcement of its current addresses."""
        return self._announcer.announcement()

    def outdo(self, sequence: int) -> None:
        """Make the next announcement newer than one with this sequence."""
        self._announcer.outdo(sequence)

    def scope_of(self, peer_id: str) -> Scope:
        """Return the scope of the address at which a peer is connected; `Scope.GLOBAL` if it is not."""
        connection = self._table.best(peer_id)
        return Scope.GLOBAL if connection is None else scope_of(connection.remote_address)

    def remote_address(self, peer_id: str) -> str:
        """Return the IP address at which a peer is connected; "" if it is not, or is relayed."""
        connection = self._table.best(peer_id)
        endpoint = None if connection is None else connection.remote_endpoint
        return "" if endpoint is None else endpoint.host

    def round_trip(self, peer_id: str) -> float | None:
        """Return the round-trip time of the connection with a peer in seconds, or None."""
        connection = self._table.best(peer_id)
        return None if connection is None else connection.round_trip

    def observed(self, host: str, *, observer: str) -> None:
        """Record the IP address at which a connected peer says that it sees this host."""
        observer_host = self.remote_address(observer)
        if host and observer_host:
            self.reachability.observed(host, observer=observer, observer_host=observer_host)

    async def carry(
        self, socket: trio.SocketStream, *, remote_address: str, expected_peer: str | None
    ) -> Connection:
        """Connect over a socket that reaches a peer other than by a dial; see `Dialler.carry`."""
        carried = self._dialler.carry(socket, remote_address=remote_address, expected_peer=expected_peer)
        return await self._take_up(await carried)

    async def probe(self, peer_id: str, addresses: Sequence[str | Hearsay]) -> None:
        """Dial a peer at one of its addresses, connected or not, and hang up once its identity is proved.

        Raises
        ------
        ExchangeFailed
            It does not answer there.
        """
        secured = await self._dialler.dial(peer_id, addresses)
        await trio.aclose_forcefully(secured.socket)

    def open_circuits_by(self, circuits: CircuitOpener | None) -> None:
        """Dial peers behind relays from now on, or no longer."""
        self._dialler.circuits = circuits

    def is_banned(self, peer_id: str) -> bool:
        """Return whether a peer is currently banned for repeatedly breaking the protocol."""
        return self._bans.is_banned(peer_id, now=trio.current_time())

    def abort(self, peer_id: str) -> None:
        """Drop all connections to a peer immediately, whatever is in progress. Never blocks."""
        for connection in self._table.of_peer(peer_id):
            connection.abort(ConnectionAborted("the connection was aborted on this side"))

    async def run_listeners(self, listening: Listening) -> None:
        """Accept connections, until cancelled."""
        await listening.serve(
            table=self._table,
            newcomers=self._newcomers,
            upgrader=self._upgrader,
            limits=self.limits,
            adopt=self._adopt,
            on_refused=self.counters.count_refused,
        )

    async def keep_tidy(self) -> None:
        """Close what is idle, cut what is slow, and drop members whose certificates expire, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.members.drop_expired)
            nursery.start_soon(self._exchanger.keep_tidy)
            nursery.start_soon(self._exchanger.keep_pace)
            nursery.start_soon(self._server.places.keep_pace)
            nursery.start_soon(self._server.answers.keep_tidy)
            nursery.start_soon(self.link.watch)

    async def close(self) -> None:
        """Close all connections in an orderly manner, but briefly."""
        async with trio.open_nursery() as nursery:
            for connection in self._table.all():
                nursery.start_soon(connection.close)

    async def _connect(
        self, peer_id: str, addresses: Sequence[str | Hearsay], manner: DialManner | None = None
    ) -> Connection:
        if peer_id == self.peer_id:
            raise PeerUnreachable("a peer cannot exchange with itself", got=peer_id)
        if self.members.is_stranger(peer_id) or not self._may_connect(peer_id):
            raise PeerUnreachable("this peer is banned or not admitted", got=peer_id)
        return await self._take_up(await self._dialler.dial(peer_id, addresses, manner or DialManner()))

    async def _take_up(self, secured: SecuredSocket) -> Connection:
        """Run a connection that this side dialled, or that a relay carries."""
        self.counters.count_connection(is_initiator=secured.is_initiator)
        connection = self._new_connection(secured)
        try:
            self._table.add(connection)
        except ConnectionRefusedByPolicy as error:
            connection.abort(ConnectionAborted(str(error)))
            raise PeerUnreachable(str(error)) from error
        self._nursery.start_soon(self._run, connection)
        await connection.started.wait()
        return connection

    async def _adopt(self, secured: SecuredSocket) -> None:
        """Serve an accepted connection until it ends."""
        connection = self._new_connection(secured)
        self._table.add(connection)
        self.counters.count_connection(is_initiator=False)
        await self._run(connection)

    def _new_connection(self, secured: SecuredSocket) -> Connection:
        self.members.knocks.let_in(secured.peer_id)
        return Connection(
            secured=secured,
            limits=self.limits,
            buffers=self._buffers,
            link=self.link,
            counters=self.counters,
            on_stream=self._on_stream,
            on_refused=self._refuse,
        )

    async def _run(self, connection: Connection) -> None:
        try:
            await connection.run()
        finally:
            self._table.remove(connection)

    def _on_stream(self, connection: Connection, stream: Stream) -> None:
        connection.start_soon(self._server.serve, connection, stream)

    def _may_connect(self, peer_id: str) -> bool:
        return not self.is_banned(peer_id)

    def _refuse(self, peer_id: str, error: GossipflError) -> None:
        self.counters.count_refused(error)
        self._punish(peer_id, error)

    def _punish(self, peer_id: str, error: GossipflError) -> None:
        """Drop a peer that broke the protocol, and ban it if it does so repeatedly."""
        weight = weight_of(error)
        if not weight:
            return
        self.standing.lose(peer_id)
        banned = self._bans.offend(peer_id, now=trio.current_time(), weight=weight)
        if banned or breaks_protocol(error):
            self.abort(peer_id)
