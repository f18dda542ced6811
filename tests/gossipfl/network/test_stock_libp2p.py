"""Stock libp2p: a host of it and ours understand each other, and what it gets wrong does not happen here."""

import multiaddr
import pytest
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.security.insecure.transport import PLAINTEXT_PROTOCOL_ID, InsecureTransport
from libp2p.security.security_multistream import SecurityMultistream
from noise.connection import NoiseConnection

from gossipfl.errors import IdentityMismatch, PeerUnreachable
from gossipfl.membership import AllowingDoor, Threshold
from gossipfl.network import Identity
from gossipfl.network.connection import Connection
from gossipfl.network.noise.transport import LARGEST_PLAINTEXT, RecordOpener, RecordSealer
from gossipfl.network.protocol import EXCHANGE_PROTOCOL
from gossipfl.wire import Acknowledgement, Clearance, encode
from tests.gossipfl.wire.frames import decoded

from .helpers import (
    assert_serves,
    expectation,
    frame_bytes,
    in_trio,
    model_frame,
    serving_host,
    tcp_address,
    until,
)

LARGE = 1_000_000  # numbers in a row: 4 MB


class SocketOfLibrary:
    """A socket as the library wants one."""

    def __init__(self, socket):
        self._socket = socket

    async def read(self, n=None):
        data = bytes(await self._socket.receive_some(n))
        if not data:
            raise OSError("closed")
        return data

    async def write(self, data):
        await self._socket.send_all(data)

    async def close(self):
        await self._socket.aclose()

    def get_remote_address(self):
        return None


async def read_exactly(stream, size):
    data = b""
    while len(data) < size:
        data += await stream.read(size - len(data))
    return data


CLEARANCE = encode(Clearance(retry_after=0))


async def offer(stream, frame):
    """Send the header of a large row, and its body once that is cleared."""
    header, *body = frame.buffers
    await stream.write(bytes(header))
    assert await read_exactly(stream, CLEARANCE.size) == frame_bytes(CLEARANCE)
    await stream.write(b"".join(body))


@in_trio
async def test_a_stock_host_starts_exchanges_with_ours():
    reply_size = frame_size_of_acknowledgement()
    stock = new_host(key_pair=create_new_key_pair())
    async with serving_host(size=LARGE) as host, stock.run([multiaddr.Multiaddr("/ip4/127.0.0.1/tcp/0")]):
        await stock.connect(PeerInfo(ID.from_base58(host.peer_id), [multiaddr.Multiaddr(host.addresses[0])]))
        stream = await stock.new_stream(ID.from_base58(host.peer_id), [EXCHANGE_PROTOCOL])
        for sequence in range(1, 4):
            await offer(stream, model_frame(LARGE, sequence=sequence))
            reply = decoded(await read_exactly(stream, reply_size), expectation(LARGE))
            assert reply == Acknowledgement(incarnation=1, sequence=sequence)
        await stream.close()
        assert host.connected() == {str(stock.get_id())}


@in_trio
async def test_a_stock_host_gets_a_whole_large_row_after_a_half_close():
    answer = model_frame(LARGE, value=7.0)

    async def answer_with_row(peer_id, message):
        return answer

    stock = new_host(key_pair=create_new_key_pair())
    async with (
        serving_host(answer_with_row, size=LARGE) as host,
        stock.run([multiaddr.Multiaddr("/ip4/127.0.0.1/tcp/0")]),
    ):
        peer_id = ID.from_base58(host.peer_id)
        await stock.connect(PeerInfo(peer_id, [multiaddr.Multiaddr(host.addresses[0])]))
        for sequence in range(1, 4):
            stream = await stock.new_stream(peer_id, [EXCHANGE_PROTOCOL])
            await offer(stream, model_frame(LARGE, sequence=sequence))
            await stream.close_write()
            assert await read_exactly(stream, answer.size) == frame_bytes(answer)
            with pytest.raises(StreamEOF):
                await stream.read(1)


@in_trio
async def test_ours_starts_exchanges_with_a_stock_host():
    stock = new_host(key_pair=create_new_key_pair())
    sent = model_frame(LARGE)
    frame, header = frame_bytes(sent), len(sent.buffers[0])
    received = []

    async def answer(stream):
        while True:
            offered = await read_exactly(stream, header)
            await stream.write(frame_bytes(CLEARANCE))
            received.append(offered + await read_exactly(stream, len(frame) - header))
            await stream.write(frame_bytes(encode(Acknowledgement(incarnation=1, sequence=len(received)))))

    stock.set_stream_handler(EXCHANGE_PROTOCOL, answer)
    async with stock.run([multiaddr.Multiaddr("/ip4/127.0.0.1/tcp/0")]):
        async with serving_host(size=LARGE) as host:
            addresses = [str(address) for address in stock.get_addrs()]
            for sequence in range(1, 4):
                reply = await host.exchange(str(stock.get_id()), addresses, model_frame(LARGE))
                assert reply == Acknowledgement(incarnation=1, sequence=sequence)
            assert host.counters.connections_dialled == 1
        assert received == [frame] * 3


def frame_size_of_acknowledgement():
    return encode(Acknowledgement(incarnation=1, sequence=1)).size


@in_trio
async def test_a_used_stream_that_ends_unanswered_is_replaced_once():
    """As when the neighbour closes an idle stream in the moment an exchange begins on it."""
    stock = new_host(key_pair=create_new_key_pair())
    frame = frame_bytes(model_frame())
    opened = []

    async def answer_once(stream):
        opened.append(stream)
        await read_exactly(stream, len(frame))
        await stream.write(frame_bytes(encode(Acknowledgement(incarnation=1, sequence=len(opened)))))
        await read_exactly(stream, 1)
        await stream.close()

    stock.set_stream_handler(EXCHANGE_PROTOCOL, answer_once)
    async with stock.run([multiaddr.Multiaddr("/ip4/127.0.0.1/tcp/0")]), serving_host() as host:
        for number in range(1, 4):
            reply = await host.exchange(
                str(stock.get_id()), [str(address) for address in stock.get_addrs()], model_frame()
            )
            assert reply == Acknowledgement(incarnation=1, sequence=number)
        assert len(opened) == 3
        assert host.counters.connections_dialled == 1


@in_trio
async def test_our_muxer_is_the_one_used():
    """Stock libp2p builds its own `Yamux` whatever muxer it is given."""
    async with serving_host() as one, serving_host() as other:
        await one.exchange(other.peer_id, other.addresses, model_frame())
        assert [type(each) for each in one._table.all() + other._table.all()] == [Connection, Connection]


def plaintext_security(key_pair):
    return SecurityMultistream({PLAINTEXT_PROTOCOL_ID: InsecureTransport(key_pair)})


@in_trio
async def test_a_dialler_that_offers_only_plaintext_is_refused():
    """A stock host accepts it, and with it whatever peer id it claims."""
    async with serving_host() as host:
        socket = await trio.open_tcp_stream(*tcp_address(host))
        raw = RawConnection(SocketOfLibrary(socket), True)
        with pytest.raises(Exception, match=r"negotiate|closed"):
            await plaintext_security(create_new_key_pair()).secure_outbound(raw, ID.from_base58(host.peer_id))
        await socket.aclose()
        await until(lambda: host.counters.refused["identity_mismatch"] == 1 or not host._newcomers._waiting)
        assert host.connected() == frozenset()
        assert host.counters.connections_accepted == 0
        await assert_serves(host)


@in_trio
async def test_a_listener_that_offers_only_plaintext_is_refused():
    victim = create_new_key_pair()
    claimed = ID.from_pubkey(victim.public_key)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]

    async def impersonate(socket):
        raw = RawConnection(SocketOfLibrary(socket), False)
        try:
            await plaintext_security(victim).secure_inbound(raw)
        except Exception:
            await socket.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, impersonate, listeners)
        async with serving_host() as client:
            with pytest.raises((IdentityMismatch, PeerUnreachable)):
                await client.exchange(str(claimed), [f"/ip4/127.0.0.1/tcp/{port}"], model_frame(), seconds=20)
            assert client.connected() == frozenset()
        nursery.cancel_scope.cancel()


@in_trio
async def test_a_claimed_identity_must_be_proved():
    """A listener that knows only the victim's public key, and signs with another, is found out."""
    victim = Identity.generate()
    async with serving_host() as liar, serving_host() as client:
        address = liar.addresses[0].rpartition("/p2p/")[0]
        with pytest.raises(IdentityMismatch, match=victim.peer_id):
            await client.exchange(victim.peer_id, [address], model_frame())
        assert client.counters.refused == {"identity_mismatch": 1}


@in_trio
async def test_the_gate_knows_peers_by_their_proven_identity():
    """The gate of stock libp2p knows IP addresses only."""
    friend, stranger = Identity.generate(), Identity.generate()
    async with serving_host(threshold=Threshold(AllowingDoor([friend.peer_id]), {})) as host:
        async with serving_host(identity=friend) as client:
            await client.exchange(host.peer_id, host.addresses, model_frame())
        async with serving_host(identity=stranger) as client:
            with pytest.raises(Exception, match=r"gave|closed|reached|stream"):
                await client.exchange(host.peer_id, host.addresses, model_frame())
            with pytest.raises(PeerUnreachable, match="not admitted"):
                await host.exchange(client.peer_id, client.addresses, model_frame())
        assert host.counters.connections_accepted == 1
        assert host.counters.refused == {"not_allowed": 1}
        assert host.counters.messages_received == 1


def noise_pair():
    """Two finished handshakes of the reference implementation, one for each side."""
    sides = [NoiseConnection.from_name(b"Noise_NN_25519_ChaChaPoly_SHA256") for _ in range(2)]
    sides[0].set_as_initiator()
    sides[1].set_as_responder()
    for side in sides:
        side.start_handshake()
    sides[1].read_message(sides[0].write_message())
    sides[0].read_message(sides[1].write_message())
    return sides


@pytest.mark.parametrize(
    "sizes", [[12, 65507], [5000, 100_000, 3, 4], [LARGEST_PLAINTEXT + 1], [70_000, 0, 1]]
)
def test_records_are_those_of_the_reference_implementation(sizes):
    ours, theirs = noise_pair()
    sealer = RecordSealer(ours.noise_protocol.cipher_state_encrypt)
    opener = RecordOpener(ours.noise_protocol.cipher_state_decrypt)
    pieces = [bytes([i]) * size for i, size in enumerate(sizes)]
    out = memoryview(bytearray(sealer.sealed_size(pieces)))
    sealed = out[: sealer.seal(pieces, out)]
    opened, position = b"", 0
    while (size := RecordOpener.find(sealed, position)) is not None:
        opened += theirs.decrypt(bytes(sealed[position + 2 : position + 2 + size]))
        position = RecordOpener.end(position, size)
    assert position == len(sealed)
    assert opened == b"".join(pieces)

    reply = theirs.encrypt(b"reply")
    record = memoryview(len(reply).to_bytes(2, "big") + reply)
    target = memoryview(bytearray(16))
    assert opener.open(record, 0, opener.find(record, 0), target) == 5
    assert target[:5] == b"reply"
    assert opener.find(record[:-1], 0) is None
