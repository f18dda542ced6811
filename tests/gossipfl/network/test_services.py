"""Services: identify and ping between hosts, stock ones included, and the bounds of what peers get of them."""

from contextlib import suppress

import multiaddr
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.host.ping import PingService
from libp2p.identity.identify.pb.identify_pb2 import Identify as IdentifyMessage
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.utils.varint import read_length_prefixed_protobuf

from gossipfl.errors import (
    ExchangeFailed,
    ExchangeTimedOut,
    IdentityMismatch,
    MalformedFrame,
    MessageTooLarge,
    ProtocolNotSpoken,
)
from gossipfl.network import Identity, ServiceLimits, ping
from gossipfl.network.addresses import PeerAddress
from gossipfl.network.failures import StreamFailure
from gossipfl.network.identify import IDENTIFY_PROTOCOL, PUSH_PROTOCOL
from gossipfl.network.multiaddresses import read_multiaddress, write_multiaddress
from gossipfl.network.pinging import PING_PROTOCOL
from gossipfl.network.protobuf import fields_of
from gossipfl.network.protocol import EXCHANGE_PROTOCOL

from .helpers import assert_serves, in_trio, limits, model_frame, serving_host, until

ECHO = "/test/echo/1.0.0"


async def echo(stream):
    while data := await stream.read_some(65_536):
        await stream.write(data)


@in_trio
async def test_identify_says_what_is_spoken_and_where_one_is_seen():
    async with serving_host() as host, serving_host() as other:
        found = await other.identify.ask(host.peer_id, addresses=host.addresses)
        assert found.agent == "gossipfl"
        assert set(found.protocols) == {EXCHANGE_PROTOCOL, IDENTIFY_PROTOCOL, PUSH_PROTOCOL, PING_PROTOCOL}
        assert [f"{each}/p2p/{host.peer_id}" for each in found.addresses] == list(host.addresses)
        [connection] = other._table.all()
        assert str(found.observed) == f"/ip4/127.0.0.1/tcp/{connection._socket.socket.getsockname()[1]}"


@in_trio
async def test_what_peers_observe_is_where_the_next_ones_are_sent():
    """As behind a router: two witnesses, at two addresses, see a host where none of its interfaces is."""
    async with serving_host(listen=["/ip4/0.0.0.0/tcp/0"]) as host:
        port = host.reachability.addresses()[0].port
        for witness in ("1.1.1.1", "8.8.8.8"):
            host.reachability.observed("9.9.9.9", observer=witness, observer_host=witness)
        assert f"/ip4/9.9.9.9/tcp/{port}/p2p/{host.peer_id}" in host.addresses
        async with serving_host() as other:
            found = await other.identify.ask(host.peer_id, addresses=[f"/ip4/127.0.0.1/tcp/{port}"])
            assert f"/ip4/9.9.9.9/tcp/{port}" in map(str, found.addresses)


@in_trio
async def test_a_push_and_an_answer_are_noted_as_observations():
    noted = []
    async with serving_host() as host, serving_host() as other:
        for each in (host, other):
            each.reachability.observed = lambda ip, **told: noted.append((ip, told["observer"]))
        stream = await other.services.open(host.peer_id, [PUSH_PROTOCOL], addresses=host.addresses)
        await stream.write(b"\x0a\x22\x08" + write_multiaddress(PeerAddress("ip4", "203.0.113.7", 4001)))
        stream.close()
        await until(lambda: noted == [("203.0.113.7", other.peer_id)])
        await other.identify.ask(host.peer_id)
        assert noted[1:] == [("127.0.0.1", host.peer_id)]


@in_trio
async def test_ping_takes_some_time_and_fails_by_name():
    async with serving_host() as host, serving_host() as other:
        assert 0 < await ping(other.services, host.peer_id, addresses=host.addresses) < 10
        host.services.offer(PING_PROTOCOL, lambda stream: trio.sleep(60))
        with pytest.raises(ExchangeTimedOut, match="ping"):
            await ping(other.services, host.peer_id, seconds=0.2)
        host.services.withdraw(PING_PROTOCOL)
        assert await ping(other.services, host.peer_id) > 0  # the host's own is back
        host.services.withdraw(PING_PROTOCOL)
        with pytest.raises(ProtocolNotSpoken, match="/ipfs/ping"):
            await ping(other.services, host.peer_id)
        assert not other.counters.refused
        assert host.connected() == {other.peer_id}


@in_trio
async def test_a_stock_host_identifies_and_pings_ours_and_is_identified_and_pinged():
    stock = new_host(key_pair=create_new_key_pair())
    who = str(stock.get_id())
    async with serving_host() as host, stock.run([multiaddr.Multiaddr("/ip4/127.0.0.1/tcp/0")]):
        peer_id = ID.from_base58(host.peer_id)
        await stock.connect(PeerInfo(peer_id, [multiaddr.Multiaddr(host.addresses[0])]))
        rtts = await PingService(stock).ping(peer_id, ping_amt=3)
        assert len(rtts) == 3
        stream = await stock.new_stream(peer_id, [IDENTIFY_PROTOCOL])
        message = IdentifyMessage()
        message.ParseFromString(await read_length_prefixed_protobuf(stream, use_varint_format=True))
        assert EXCHANGE_PROTOCOL in message.protocols
        assert str(multiaddr.Multiaddr(message.listen_addrs[0])) == host.addresses[0].partition("/p2p")[0]
        assert str(multiaddr.Multiaddr(message.observed_addr)).startswith("/ip4/127.0.0.1/tcp/")

        found = await host.identify.ask(who)
        assert found.agent.startswith("py-libp2p")
        assert IDENTIFY_PROTOCOL in found.protocols
        assert [f"{each}/p2p/{who}" for each in found.addresses] == [str(each) for each in stock.get_addrs()]
        assert found.observed is not None
        assert await ping(host.services, who) > 0
        assert not host.counters.refused


@in_trio
async def test_streams_end_by_halves():
    """Whoever asked may say that it sends no more, and gets the whole answer."""
    heard = []

    async def answer(stream):
        while data := await stream.read_some(1000):
            heard.append(data)
        await stream.write(b"a" * 100_000)

    async with serving_host() as host, serving_host() as other:
        host.services.offer(ECHO, answer)
        stream = await other.services.open(host.peer_id, [ECHO], addresses=host.addresses)
        await stream.write(b"q" * 2500)
        stream.finish()
        stream.finish()
        assert not stream.is_open
        assert await stream.read_exactly(100_000) == b"a" * 100_000
        assert await stream.read_some(1) == b""
        assert b"".join(heard) == b"q" * 2500
        stream.close()
        await until(lambda: not any(each.multiplexer.streams for each in host._table.all()))
        assert not any(each.multiplexer.streams for each in other._table.all())


@in_trio
async def test_a_handler_that_fails_ends_its_stream_and_nothing_else():
    async def fail(stream):
        raise RuntimeError

    async with serving_host() as host, serving_host() as other:
        host.services.offer(ECHO, fail)
        stream = await other.services.open(host.peer_id, [ECHO], addresses=host.addresses)
        with pytest.raises(Exception, match="reset"):
            await stream.read_exactly(1)
        assert host.connected() == {other.peer_id}
        await assert_serves(host)


@in_trio
async def test_a_peer_gets_so_many_streams_at_a_time():
    async with serving_host() as host, serving_host() as other:
        host.services.offer(ECHO, echo, ServiceLimits(streams=4, streams_per_peer=2))
        streams = []
        for _ in range(2):
            streams.append(await other.services.open(host.peer_id, [ECHO], addresses=host.addresses))
            await streams[-1].write(b"a")
            assert await streams[-1].read_exactly(1) == b"a"
        surplus = await other.services.open(host.peer_id, [ECHO])
        with pytest.raises(Exception, match="reset"):
            await surplus.read_exactly(1)
        assert host.counters.refused == {"peer_busy": 1}
        # One of the places left is kept for peers of standing.
        async with serving_host() as third, serving_host() as fourth:
            last = await third.services.open(host.peer_id, [ECHO], addresses=host.addresses)
            await last.write(b"a")
            assert await last.read_exactly(1) == b"a"
            stranger = await fourth.services.open(host.peer_id, [ECHO], addresses=host.addresses)
            with pytest.raises(Exception, match="reset"):
                await stranger.read_exactly(1)
            assert host.counters.refused == {"peer_busy": 2}
            await fourth.exchange(host.peer_id, host.addresses, model_frame())
            proven = await fourth.services.open(host.peer_id, [ECHO])
            await proven.write(b"a")
            assert await proven.read_exactly(1) == b"a"


@in_trio
async def test_a_peer_opens_so_many_streams_a_second_and_a_flood_ends_its_connection():
    async with serving_host(limits=limits(useless_frames_per_second=4)) as host, serving_host() as other:
        host.services.offer(ECHO, echo, ServiceLimits(streams_per_second=1.0))
        answered = 0
        while not host.counters.refused["useless_traffic"]:
            with suppress(ExchangeFailed, StreamFailure):
                stream = await other.services.open(host.peer_id, [ECHO], addresses=host.addresses)
                await stream.write(b"a")
                answered += await stream.read_some(1) == b"a"
                stream.close()
        assert 4 <= answered <= 6
        assert host.counters.refused["rate_limited"] > 10
        await until(lambda: other.peer_id not in host.connected())


@in_trio
async def test_a_stream_carries_so_many_bytes_and_lasts_so_long():
    async with serving_host() as host, serving_host() as other:
        host.services.offer(ECHO, echo, ServiceLimits(bytes=1000))
        stream = await other.services.open(host.peer_id, [ECHO], addresses=host.addresses)
        await stream.write(b"a" * 400)
        assert await stream.read_exactly(400) == b"a" * 400
        await stream.write(b"a" * 400)
        with pytest.raises(Exception, match="reset"):
            await stream.read_exactly(400)
        assert host.counters.refused == {"rate_limited": 1}
        host.services.offer(ECHO, echo, ServiceLimits(seconds=0.2))
        stream = await other.services.open(host.peer_id, [ECHO])
        with pytest.raises(Exception, match="reset"):
            await stream.read_exactly(1)
        assert host.counters.refused == {"rate_limited": 1, "exchange_timed_out": 1}


@in_trio
async def test_bytes_beyond_the_rate_are_held_back():
    async with serving_host() as host, serving_host() as other:
        host.services.offer(ECHO, echo, ServiceLimits(bytes_per_second=1000.0, bytes=10**9))
        stream = await other.services.open(host.peer_id, [ECHO], addresses=host.addresses)
        await stream.write(b"a" * 6_000)  # more than four seconds' worth, which may come at once
        with trio.move_on_after(0.3) as early:
            await stream.read_exactly(6_000)
        assert early.cancelled_caught
        assert host.connected() == {other.peer_id}
        assert not host.counters.refused


@in_trio
async def test_an_identification_is_bounded_and_of_the_proven_key():
    stranger = b"\x0a\x24\x08\x01\x12\x20" + Identity.generate().public_key
    answers = {
        b"\xff\xff\xff\xff\x01": MalformedFrame,
        b"\xff\xff\x7f": MessageTooLarge,
        b"\x02\x08\x01": MalformedFrame,
        b"\x03\x0a\x05\x00": MalformedFrame,
        bytes([len(stranger)]) + stranger: IdentityMismatch,
        b"\xa0\x06" + 400 * b"\x1a\x00": MessageTooLarge,
        b"\x05\x1a\x01": ExchangeFailed,
    }
    async with serving_host() as host, serving_host(limits=limits(offences_before_ban=1000)) as other:
        for answer, error in answers.items():

            async def lie(stream, answer=answer):
                await stream.write(answer)

            host.services.offer(IDENTIFY_PROTOCOL, lie)
            with pytest.raises(error):
                await other.identify.ask(host.peer_id, addresses=host.addresses)


@in_trio
async def test_a_hostile_push_is_counted():
    async with serving_host() as host, serving_host() as other:
        stream = await other.services.open(host.peer_id, [PUSH_PROTOCOL], addresses=host.addresses)
        await stream.write(b"\xff\xff\x7f")
        await until(lambda: host.counters.refused["message_too_large"] == 1)
        await assert_serves(host)


ADDRESSES = ["/ip4/192.0.2.7/tcp/4001", "/ip6/2001:db8::1/tcp/1", "/dns4/peer.example/tcp/65535"]


@pytest.mark.parametrize("text", ADDRESSES)
def test_multiaddresses_are_those_of_the_library(text):
    from gossipfl.network import parse_address

    address = parse_address(text)
    assert write_multiaddress(address) == multiaddr.Multiaddr(text).to_bytes()
    whole = multiaddr.Multiaddr(f"{text}/p2p/{Identity.generate().peer_id}").to_bytes()
    assert read_multiaddress(whole) == address


@given(st.binary(max_size=60))
def test_any_bytes_are_an_address_or_none_and_a_protobuf_or_refused(data):
    address = read_multiaddress(data)
    assert address is None or read_multiaddress(write_multiaddress(address)) == address
    try:
        fields = fields_of(data)
    except MalformedFrame:
        return
    assert sum(len(each) for contents in fields.values() for each in contents) <= len(data)
