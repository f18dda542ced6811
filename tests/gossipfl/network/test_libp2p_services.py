"""py-libp2p's own services, unmodified, on hosts of this project."""

from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.host.autonat.autonat import AutoNATService, AutoNATStatus
from libp2p.host.autonat.pb.autonat_pb2 import Message
from libp2p.host.exceptions import StreamFailure as LibraryStreamFailure
from libp2p.host.ping import PingService
from libp2p.kad_dht.common import PROTOCOL_ID as KAD_PROTOCOL
from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
from libp2p.network.exceptions import SwarmException
from libp2p.network.stream.exceptions import StreamError, StreamReset
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.relay.circuit_v2.config import RelayConfig, RelayRole
from libp2p.relay.circuit_v2.protocol import CircuitV2Protocol
from libp2p.relay.circuit_v2.transport import CircuitV2Transport
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from gossipfl.network import Identity, Scope, ServiceLimits
from gossipfl.network.identify import IDENTIFY_PROTOCOL
from gossipfl.network.libp2p import AutoNATHost, open_library_host
from gossipfl.network.pinging import PING_PROTOCOL
from gossipfl.wire import Acknowledgement

from .helpers import NONSENSE, assert_serves, in_trio, model_frame, serving_host, until

ECHO = "/test/echo/1.0.0"
CIRCUITS = ServiceLimits(bytes=2**30, bytes_per_second=1e8, seconds=3600.0)


@asynccontextmanager
async def library_host(**options):
    """One of our hosts, and the library's view of it."""
    identity = Identity.generate()
    library = {key: options.pop(key) for key in ("limits", "narrowest") if key in options}
    async with (
        serving_host(identity=identity, **options) as host,
        open_library_host(host, identity, **{"narrowest": Scope.LOOPBACK, **library}) as offered,
    ):
        yield host, offered


@asynccontextmanager
async def library_hosts(count, **options):
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(library_host(**options)) for _ in range(count)]


def info(library):
    return PeerInfo(library.get_id(), library.get_addrs())


async def echo(stream):
    while True:
        await stream.write(await stream.read(65_536))


@in_trio
async def test_identify_fills_the_peer_store_and_ping_answers():
    async with library_hosts(2) as [(_, one), (_, other)]:
        await one.connect(info(other))
        await until(lambda: IDENTIFY_PROTOCOL in known_protocols(one, other))
        await until(lambda: PING_PROTOCOL in known_protocols(other, one))
        assert len(await PingService(one).ping(other.get_id(), ping_amt=3)) == 3


def known_protocols(library, other):
    store = library.get_peerstore()
    return store.get_protocols(other.get_id()) if store.has_peer(other.get_id()) else []


@asynccontextmanager
async def dht_of(library, hub=None):
    """A table of the DHT, which knows the hub's host and is known by it."""
    table = KadDHT(library, DHTMode.SERVER, max_peers_per_subnet=0)
    async with background_trio_service(table):
        if hub is not None:
            await library.connect(info(hub.host))
            await until(lambda: KAD_PROTOCOL in known_protocols(hub.host, library))
            assert await table.add_peer(hub.host.get_id())
            assert await hub.add_peer(library.get_id())
        yield table


@in_trio
async def test_a_value_is_put_into_the_dht_and_found_by_whoever_joins_later():
    async with library_hosts(3) as [(host, library), (_, first_library), (_, late_library)]:
        async with dht_of(library) as hub, dht_of(first_library, hub) as first:
            await first.put_value("key", b"value")
            assert await first.provide("content")
            async with dht_of(late_library, hub) as late:
                assert late.get_value_store_size() == 0
                assert await late.get_value("key") == b"value"
                found = await late.find_peer(first_library.get_id())
                assert {str(each) for each in first_library.get_addrs()} & {
                    f"{str(each).partition('/p2p')[0]}/p2p/{found.peer_id}" for each in found.addrs
                }
                providers = await late.find_providers("content")
                assert first_library.get_id() in [each.peer_id for each in providers]
        assert not host.counters.refused


@in_trio
async def test_a_peer_that_can_be_dialled_is_found_public_and_one_that_cannot_private():
    async with AsyncExitStack() as stack:
        hosts = [await stack.enter_async_context(library_host()) for _ in range(2)]
        closed = f"/ip4/127.0.0.1/tcp/{await unused_port()}"
        hosts.append(await stack.enter_async_context(library_host(announce=[closed])))
        (server_host, server), (_, open_library), (_, closed_library) = hosts
        AutoNATService(AutoNATHost(server, server_host))
        for library, status, verdict in (
            (open_library, Message.OK, AutoNATStatus.PUBLIC),
            (closed_library, Message.E_DIAL_ERROR, AutoNATStatus.PRIVATE),
        ):
            asking = AutoNATService(library, confirmations=1, serve=False)
            await library.connect(info(server))
            connections = server_host.connections.of_peer(str(library.get_id()))
            assert (await asking.query_server(server.get_id()))[0] == status
            assert await asking.check_reachability([server.get_id()]) == verdict
            assert server_host.connections.of_peer(str(library.get_id())) == connections


async def unused_port():
    """A port at which nobody listens any more."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        return listener.socket.getsockname()[1]


@in_trio
async def test_nobody_is_dialled_back_elsewhere_or_often():
    async with library_hosts(2) as [(server_host, server), (_, library)], serving_host() as victim:
        AutoNATService(AutoNATHost(server, server_host))
        asking = AutoNATService(library, serve=False)
        await library.connect(info(server))
        elsewhere = [
            Multiaddr(each).to_bytes()
            for each in ("/ip4/127.0.0.2/tcp/4001", "/dns4/localhost/tcp/4001", "/ip4/9.9.9.9/tcp/4001")
        ]
        dialled = server_host.probe = Counted(server_host.probe)
        assert (await asking.query_server(server.get_id(), elsewhere))[0] == Message.E_DIAL_REFUSED
        assert not dialled.count
        there = [Multiaddr(each).to_bytes() for each in map(tcp_multiaddress, [victim] * 50)]
        for _ in range(4):  # another peer answers there
            status, _ = await asking.query_server(server.get_id(), there)
            assert status == Message.E_DIAL_ERROR
        assert dialled.count <= 5


class Counted:
    """A function, and how often it was called."""

    def __init__(self, function):
        self.function, self.count = function, 0

    async def __call__(self, *arguments):
        self.count += 1
        return await self.function(*arguments)


def tcp_multiaddress(host):
    return host.addresses[0].partition("/p2p/")[0]


@in_trio
async def test_stock_hosts_say_that_an_address_can_be_dialled_where_nobody_listens():
    """AutoNAT dials back with `connect`, which is content with the connection that the question came over."""
    one, other = (new_host(key_pair=create_new_key_pair()) for _ in range(2))
    anywhere = [Multiaddr("/ip4/127.0.0.1/tcp/0")]
    async with one.run(anywhere), other.run(anywhere):
        asking = AutoNATService(one)
        AutoNATService(other)
        await one.connect(info(other))
        status, _ = await asking.query_server(other.get_id(), [Multiaddr("/ip4/127.0.0.1/tcp/9").to_bytes()])
        assert status == 0


@asynccontextmanager
async def relayed():
    """A host, its connection to another through a relay, and the other's host."""
    async with library_hosts(3, limits=CIRCUITS) as hosts, AsyncExitStack() as stack:
        (_, relay), (source, source_library), (target, target_library) = hosts
        services = []
        for library, is_relay in ((relay, True), (source_library, False), (target_library, False)):
            services.append(CircuitV2Protocol(library, allow_hop=is_relay))
            await stack.enter_async_context(background_trio_service(services[-1]))
            await services[-1].event_started.wait()
        transports = [
            CircuitV2Transport(library, service, RelayConfig(roles=RelayRole.STOP | RelayRole.CLIENT))
            for library, service in zip((source_library, target_library), services[1:], strict=True)
        ]
        for library in (source_library, target_library):
            await library.connect(info(relay))
        stream = await target_library.new_stream(relay.get_id(), ["/libp2p/circuit/relay/0.2.0/hop"])
        assert await transports[1]._make_reservation(stream, relay.get_id())
        await stream.close()
        circuit = Multiaddr(f"{relay.get_addrs()[0]}/p2p-circuit/p2p/{target_library.get_id()}")
        connection = await transports[0].dial(circuit)
        yield source, source_library, target, target_library, connection, hosts[0][0]


@in_trio
async def test_streams_and_exchanges_go_through_a_relay():
    async with relayed() as parts:
        source, source_library, target, target_library, connection, relay = parts
        assert connection.get_connection_type().value == "relayed"
        assert "/p2p-circuit" in str(connection.get_transport_addresses()[0])
        target_library.set_stream_handler(ECHO, echo)
        stream = await source_library.new_stream(target_library.get_id(), [ECHO])
        await stream.write(b"over a relay")
        assert await stream.read(100) == b"over a relay"
        await stream.close()
        # Our own exchanges take the same connection; the relay sees sealed bytes.
        before = relay.counters.messages_received
        reply = await source.exchange(target.peer_id, [], model_frame())
        assert reply == Acknowledgement(incarnation=1, sequence=1)
        reply = await target.exchange(source.peer_id, [], model_frame())
        assert reply == Acknowledgement(incarnation=1, sequence=1)
        assert relay.counters.messages_received == before
        # A relay's address is nobody's observation.
        assert source.remote_address(target.peer_id) == ""


@in_trio
async def test_a_relayed_connection_ends_with_its_relay():
    async with relayed() as parts:
        source, _, target, _, _, relay = parts
        relay.abort(source.peer_id)
        await until(lambda: target.peer_id not in source.connected())
        await until(lambda: source.peer_id not in target.connected())
        await assert_serves(source)


@in_trio
async def test_the_bounds_of_services_hold_for_the_library():
    """A stranger opens no more streams than its share, and sends no more on one than the limit."""
    limits = ServiceLimits(streams_per_peer=2, bytes=1_000)
    async with library_host(limits=limits) as (host, library), library_host() as (_, stranger):
        library.set_stream_handler(ECHO, echo)
        streams = []
        await stranger.connect(info(library))
        for _ in range(2):
            streams.append(await stranger.new_stream(library.get_id(), [ECHO]))
            await streams[-1].write(b"a")
            assert await streams[-1].read(1) == b"a"
        surplus = await stranger.new_stream(library.get_id(), [ECHO])
        with pytest.raises(StreamReset):
            await surplus.read(1)
        assert host.counters.refused == {"peer_busy": 1}
        with pytest.raises(StreamReset):
            for _ in range(20):
                await streams[0].write(b"a" * 100)
                await streams[0].read(100)
        assert host.counters.refused == {"peer_busy": 1, "rate_limited": 1}
        await streams[1].write(b"b")
        assert await streams[1].read(1) == b"b"
        await assert_serves(host)


@in_trio
async def test_the_library_dials_no_further_inward_than_allowed():
    async with library_hosts(2, narrowest=Scope.GLOBAL) as [(_, one), (host, other)]:
        with pytest.raises(SwarmException, match="narrower scope"):
            await one.connect(info(other))
        assert host.counters.connections_accepted == 0


@in_trio
async def test_a_handler_of_the_library_that_fails_ends_its_stream_only():
    async def fail(stream):
        raise RuntimeError

    async with library_hosts(2) as [(host, one), (_, other)]:
        one.set_stream_handler(ECHO, fail)
        await other.connect(info(one))
        stream = await other.new_stream(one.get_id(), [ECHO])
        with pytest.raises(StreamError):
            await stream.read(1)
        one.remove_stream_handler(ECHO)
        with pytest.raises(LibraryStreamFailure, match="does not speak"):
            await other.new_stream(one.get_id(), [ECHO])
        assert other.get_id() in one.get_network().connections
        await assert_serves(host)


@in_trio
async def test_the_hosts_own_services_are_back_afterwards():
    identity = Identity.generate()
    async with serving_host(identity=identity) as host, serving_host() as other:
        async with open_library_host(host, identity) as library:
            found = await other.identify.ask(host.peer_id, addresses=host.addresses)
            assert found.agent.startswith("py-libp2p")
            assert ID.from_base58(other.peer_id) in library.get_network().connections
        found = await other.identify.ask(host.peer_id)
        assert found.agent == "gossipfl"
        assert host.connections.watchers == []
        with trio.move_on_after(5):
            await other.exchange(host.peer_id, [], model_frame())


@pytest.mark.parametrize("said", NONSENSE.values(), ids=NONSENSE)
@in_trio
async def test_whatever_strangers_say_to_the_library_ends_their_streams_only(said):
    """Each service hears it as the one that is asked; identify also as the one that asks, in its own task."""
    async with relayed() as (_, _, target, target_library, _, _), serving_host() as stranger:
        AutoNATService(target_library)
        async with dht_of(target_library):

            async def lie(stream):
                await stream.write(said)

            stranger.services.offer(IDENTIFY_PROTOCOL, lie)
            protocols = [str(each) for each in target_library.get_mux().get_protocols() if each]
            assert len(protocols) >= 6
            for protocol in protocols:
                stream = await stranger.services.open(target.peer_id, [protocol], addresses=target.addresses)
                await stream.write(said)
                stream.finish()
                with trio.move_on_after(0.5), suppress(Exception):
                    while await stream.read_some(65_536):
                        pass
                stream.reset()
        await assert_serves(target)
