"""Relayed connections: circuits through other peers, circuits for other peers, and hole punching.

Relay and hole punching are py-libp2p's, unmodified. Its limits on a circuit's bytes and seconds are left open,
because it announces their end inside the circuit, where it looks like a breach of Noise; those of `ServiceLimits`
hold instead.

References
----------
libp2p, "Circuit Relay v2" and "Direct Connection Upgrade through Relay",
https://github.com/libp2p/specs/tree/master/relay
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Final

import trio
from libp2p.peer.id import ID
from libp2p.relay.circuit_v2.dcutr import DCUtRProtocol
from libp2p.relay.circuit_v2.pb.circuit_pb2 import HopMessage, PeerId, Status
from libp2p.relay.circuit_v2.protocol import PROTOCOL_ID as HOP
from libp2p.relay.circuit_v2.protocol import STOP_PROTOCOL_ID as STOP
from libp2p.relay.circuit_v2.protocol import CircuitV2Protocol
from libp2p.relay.circuit_v2.resources import RelayLimits
from libp2p.relay.circuit_v2.utils import read_delimited_msg, write_delimited_msg
from libp2p.tools.anyio_service import background_trio_service

from gossipfl.errors import ExchangeTimedOut, GossipflError, PeerUnreachable, ProtocolNotSpoken
from gossipfl.network.addresses import Hearsay, PeerAddress, Scope, parse_address, scope_of
from gossipfl.network.connection import Connection
from gossipfl.network.host import Host
from gossipfl.network.identity import Identity
from gossipfl.network.libp2p.host import LibraryHost, open_library_host
from gossipfl.network.libp2p.relayed import open_socket
from gossipfl.network.libp2p.streams import LibraryStream
from gossipfl.network.log_limits import limited_logger
from gossipfl.network.service_streams import ServiceLimits

__all__ = ["CIRCUITS_PER_PEER", "relay_connections"]

#: Circuits to one peer at a time: half of the streams that a connection serves, so that exchanges keep the others.
CIRCUITS_PER_PEER: Final = 8
_MOST_RESERVATIONS: Final = 64
_UNLIMITED_BYTES: Final = 2**62
_REFRESH_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 1.0
_FIRST_PAUSE_SECONDS: Final = 2.0
_LONGEST_PAUSE_SECONDS: Final = 60.0
_FULL: Final = (Status.RESERVATION_REFUSED, Status.RESOURCE_LIMIT_EXCEEDED)
_NO_RELAY: Final = "Set network.offer_relay = true in its peer.toml, or name another peer in network.relay."
_FULL_RELAY: Final = "Name another peer in network.relay; this one goes on asking once a minute."
_log = limited_logger(__name__)


async def relay_connections(
    host: Host,
    identity: Identity,
    *,
    relays: Sequence[str] = (),
    offers: bool = False,
    limits: ServiceLimits,
    report: Callable[[str, GossipflError | None], None] = lambda _address, _error: None,
) -> None:
    """Let a host dial peers through relays, be reached through some, and be one, until cancelled.

    Parameters
    ----------
    relays : sequence of str
        Addresses of the relays through which others reach this host, each ending in ``/p2p/PEER_ID``.
    offers : bool
        Whether to connect others.
    limits : ServiceLimits
        Limits on circuits.
    report : callable, optional
        Called with the address of one of the `relays` and why it does not relay to this host; None if it does.
    """
    logging.getLogger("libp2p").setLevel(logging.CRITICAL)  # it logs as errors what strangers say
    parsed = [parse_address(each, smallest_port=1) for each in relays]
    narrowest = min((each.scope for each in parsed), default=Scope.GLOBAL)
    async with AsyncExitStack() as stack:
        library = await stack.enter_async_context(
            open_library_host(host, identity, narrowest=narrowest, limits_of={HOP: limits, STOP: limits})
        )
        circuits = CircuitV2Protocol(
            library,
            allow_hop=offers,
            limits=RelayLimits(
                duration=0,
                data=_UNLIMITED_BYTES,
                max_circuit_conns=CIRCUITS_PER_PEER,
                max_reservations=_MOST_RESERVATIONS,
            ),
        )
        await stack.enter_async_context(background_trio_service(circuits))
        if relays:
            await stack.enter_async_context(background_trio_service(DCUtRProtocol(library)))
        nursery = await stack.enter_async_context(trio.open_nursery())
        client = _Client(host, library, nursery, report)
        host.open_circuits_by(client.open)
        try:
            async with trio.open_nursery() as reservations:
                for each in parsed:
                    reservations.start_soon(client.keep_reservation, each)
                await trio.sleep_forever()
        finally:
            host.open_circuits_by(None)
            host.reachability.circuits = ()
            nursery.cancel_scope.cancel()


class _Client:
    """The use that a host makes of relays."""

    def __init__(
        self,
        host: Host,
        library: LibraryHost,
        nursery: trio.Nursery,
        report: Callable[[str, GossipflError | None], None],
    ) -> None:
        self._report = report
        self._host = host
        self._library = library
        self._nursery = nursery

    async def open(
        self, peer_id: str, address: PeerAddress, hearsay: Hearsay | None
    ) -> tuple[trio.SocketStream, str]:
        """Open a circuit to a peer; see `CircuitOpener`."""
        if address.relay in (None, self._host.peer_id, peer_id):
            raise PeerUnreachable(f"{address} leads nowhere")
        direct = _relay_of(address)
        told = str(direct) if hearsay is None else Hearsay(str(direct), hearsay.narrowest)
        relay = await self._host.services.connection(str(address.relay), [told])
        if hearsay is not None and scope_of(relay.remote_address) < hearsay.narrowest:
            raise PeerUnreachable(f"{address} has a narrower scope than the peer it was learned from")
        message = HopMessage(type=HopMessage.CONNECT, peer=PeerId(id=ID.from_base58(peer_id).to_bytes()))
        stream = await self._ask(relay, message)
        return open_socket(stream, self._nursery), relay.remote_address

    async def keep_reservation(self, relay: PeerAddress) -> None:
        """Have a relay connect others to this host, until cancelled."""
        circuit = PeerAddress(relay.family, relay.host, relay.port, relay=relay.peer_id)
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                connection = await self._host.services.connection(str(relay.peer_id), [str(relay)])
                stream = await self._ask(connection, HopMessage(type=HopMessage.RESERVE))
                await stream.reset()
            except GossipflError as error:
                self._announce(circuit, is_reserved=False)
                self._report(str(relay), error)
                _log.warning("%s relays no connections to this peer: %s", relay, error)
                await trio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                continue
            pause = _FIRST_PAUSE_SECONDS
            self._announce(circuit, is_reserved=True)
            self._report(str(relay), None)
            with trio.move_on_after(_REFRESH_SECONDS):
                while connection.alive:
                    await trio.sleep(_LOOK_SECONDS)

    def _announce(self, circuit: PeerAddress, *, is_reserved: bool) -> None:
        others = [each for each in self._host.reachability.circuits if each != circuit]
        self._host.reachability.circuits = (*others, circuit) if is_reserved else tuple(others)

    async def _ask(self, relay: Connection, message: HopMessage) -> LibraryStream:
        """Ask a relay; return the stream once it has agreed."""
        answer = None
        with trio.move_on_after(self._host.limits.dial_seconds):
            try:
                stream = await self._library.new_stream(ID.from_base58(relay.peer_id), [HOP])
                try:
                    await write_delimited_msg(stream, message)
                    answer = await read_delimited_msg(stream, HopMessage)
                finally:
                    if answer is None or answer.status != Status.OK:
                        await stream.reset()
            except Exception as error:  # whatever the library raises about an answer
                if _is_caused_by(error, ProtocolNotSpoken):
                    raise PeerUnreachable("the peer is no relay", remedy=_NO_RELAY) from error
                raise PeerUnreachable("the relay does not answer as a relay does", got=error) from error
        if answer is None:
            raise ExchangeTimedOut(f"the relay {relay.peer_id} did not answer in time")
        if answer.status in _FULL and message.type == HopMessage.RESERVE:
            raise PeerUnreachable(
                "the relay has no place for this peer", got=_name_of(answer), remedy=_FULL_RELAY
            )
        if answer.status != Status.OK:
            raise PeerUnreachable("the relay refuses", got=_name_of(answer))
        return stream


def _is_caused_by(error: BaseException | None, kind: type[Exception]) -> bool:
    while error is not None and not isinstance(error, kind):
        error = error.__cause__
    return error is not None


def _relay_of(address: PeerAddress) -> PeerAddress:
    return PeerAddress(address.family, address.host, address.port, address.relay)


def _name_of(answer: HopMessage) -> str:
    return str(Status.Name(answer.status)).lower()  # protobuf has set aside numbers without a name
