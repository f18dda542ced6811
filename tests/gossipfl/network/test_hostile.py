"""Hostile peers: each with the named error counted, the consequence, and the host that lives on."""

import random
import struct
from contextlib import suppress

import msgpack
import psutil
import pytest
import trio
import xxhash

from gossipfl.errors import RefusedByNeighbour
from gossipfl.network import Identity
from gossipfl.network.failures import ConnectionLost
from gossipfl.network.yamux.headers import (
    ACK,
    DATA,
    FIN,
    GO_AWAY,
    INITIAL_WINDOW,
    PING,
    RST,
    SYN,
    WINDOW_UPDATE,
    frame_header,
)

from .helpers import (
    SMALL,
    Outlaw,
    acknowledge,
    assert_serves,
    frame_bytes,
    frames_in,
    in_trio,
    limits,
    model_frame,
    serving_host,
    tcp_address,
    until,
)


def resident_bytes():
    return psutil.Process().memory_info().rss


@in_trio
async def test_the_outlaw_of_these_tests_can_behave():
    async with serving_host() as host, Outlaw.connected_to(host) as outlaw:
        await outlaw.open_stream()
        await outlaw.send_data(frame_bytes(model_frame()))
        assert b"GSFL" in await outlaw.receive_until(b"GSFL")
        assert host.counters.messages_received == 1
        assert not host.counters.refused


@pytest.mark.parametrize(
    "start",
    [b"\x02\xff\n", b"\xff" * 9 + b"\x01", b"\x00", bytes(range(37, 229, 3)), b"GET / HTTP/1.1\r\n\r\n"],
)
@in_trio
async def test_a_stream_that_begins_with_garbage_ends_nothing_else(start):
    """The first of these, three bytes, ends a stock host."""
    async with serving_host(limits=limits(dial_seconds=1.0)) as host, Outlaw.connected_to(host) as outlaw:
        await outlaw.send(frame_header(WINDOW_UPDATE, SYN, 1, 0))
        await outlaw.send_data(start)
        await outlaw.send(frame_header(DATA, FIN, 1, 0))
        await until(lambda: not any(each.multiplexer.streams for each in host._table.all()))
        await assert_serves(host)


@pytest.mark.parametrize(
    ("frame", "counter"),
    [
        (frame_header(DATA, 0, 1, INITIAL_WINDOW + 1), "window_overrun"),
        (frame_header(DATA, 0, 1, 2**32 - 1), "window_overrun"),
        (frame_header(DATA, 0, 77, 1), "window_overrun"),
        (frame_header(WINDOW_UPDATE, SYN, 2, 0), "malformed_frame"),
        (frame_header(WINDOW_UPDATE, SYN, 1, 0), "malformed_frame"),
        (frame_header(WINDOW_UPDATE, 0, 1, 2**32 - 1), "malformed_frame"),
        (frame_header(9, 0, 1, 0), "malformed_frame"),
        (b"\x07" + frame_header(DATA, 0, 1, 0)[1:], "malformed_frame"),
    ],
)
@in_trio
async def test_frames_against_yamux_end_the_connection(frame, counter):
    async with serving_host() as host, Outlaw.connected_to(host) as outlaw:
        await outlaw.open_stream()
        await outlaw.send(frame)
        await outlaw.receive_all()
        assert host.counters.refused == {counter: 1}
        await assert_serves(host)


@in_trio
async def test_data_beyond_the_window_is_not_kept():
    """Stock libp2p logs it, and grows: 400 MB pushed into a stream nobody reads took 488 MB."""
    release = trio.Event()

    async def handler(peer_id, message):
        await release.wait()
        return await acknowledge(peer_id, message)

    async with serving_host(handler) as host, Outlaw.connected_to(host) as outlaw:
        await outlaw.open_stream()
        await outlaw.send_data(frame_bytes(model_frame()))
        await until(lambda: host._server.places.taken)
        before = resident_bytes()
        chunk = bytes(60_000)
        with pytest.raises((trio.BrokenResourceError, trio.ClosedResourceError)):
            for _ in range(2_000):
                await outlaw.send_data(chunk)
                await trio.sleep(0)
        assert host.counters.refused["window_overrun"] == 1
        assert resident_bytes() - before < 8_000_000
        release.set()


@in_trio
async def test_streams_beyond_the_limit_are_reset_and_a_flood_ends_the_connection():
    """In stock libp2p 9,000 streams are 9,000 tasks."""
    async with serving_host(limits=limits(streams_per_connection=4)) as host:
        async with Outlaw.connected_to(host) as outlaw:
            await outlaw.send(*(frame_header(WINDOW_UPDATE, SYN, 2 * i + 1, 0) for i in range(10)))
            await outlaw.receive_until(frame_header(WINDOW_UPDATE, RST, 19, 0))
            assert host.counters.refused == {"stream_limit_exceeded": 2}
            [connection] = host._table.all()
            assert len(connection.multiplexer.streams) == 8
            await outlaw.send(*(frame_header(WINDOW_UPDATE, SYN, 2 * i + 1, 0) for i in range(10, 9_000)))
            await outlaw.receive_all()
        assert host.counters.refused["stream_limit_exceeded"] < 80
        await assert_serves(host)


@in_trio
async def test_streams_opened_and_abandoned_are_reclaimed():
    patience = limits(dial_seconds=0.4, idle_seconds=0.6)
    async with serving_host(limits=patience) as host, Outlaw.connected_to(host) as outlaw:
        await outlaw.send(frame_header(WINDOW_UPDATE, SYN, 1, 0))
        await outlaw.open_stream(3)
        [connection] = host._table.all()
        await until(lambda: len(connection.multiplexer.streams) == 2)
        await until(lambda: not connection.multiplexer.streams)
        assert connection.alive, "the streams alone were closed, not the connection for its silence"


@in_trio
async def test_bytes_that_drip_meet_the_deadline_of_the_exchange():
    patience = limits(exchange_seconds=0.5)
    async with serving_host(limits=patience) as host, Outlaw.connected_to(host) as outlaw:
        await outlaw.open_stream()
        data = frame_bytes(model_frame())
        with trio.move_on_after(20):
            for byte in data:
                if host.counters.refused["exchange_timed_out"]:
                    break
                await outlaw.send_data(bytes([byte]))
                await trio.sleep(0.02)
        assert host.counters.refused == {"exchange_timed_out": 1}
        assert not host._server.places.taken
        assert host.counters.messages_received == 0


@in_trio
async def test_a_handshake_that_drips_meets_its_deadline():
    async with serving_host(limits=limits(dial_seconds=0.3)) as host:
        async with await trio.open_tcp_stream(*tcp_address(host)) as socket:
            await socket.send_all(b"\x13/multistream")
            with trio.fail_after(20):  # the library's own patience ends after 30 s
                while await socket.receive_some():
                    pass
        assert host.counters.refused == {"identity_mismatch": 1}
        assert not host._newcomers._waiting


def small_changes(frame):
    """One frame damaged in many ways, each with the name of its refusal."""
    giant = struct.pack("<Q", 2**63)
    yield frame[:16] + giant + frame[24:], "message_too_large"  # body length
    yield frame[:8] + struct.pack("<I", 2**32 - 1) + frame[12:], "message_too_large"  # header length
    yield b"XXXX" + frame[4:], "malformed_frame"
    yield frame[:4] + struct.pack("<H", 999) + frame[6:], "unsupported_version"
    yield frame[:6] + struct.pack("<H", 999) + frame[8:], "malformed_frame"
    yield frame[:30] + bytes([frame[30] ^ 1]) + frame[31:], "checksum_mismatch"
    yield frame[:-1] + bytes([frame[-1] ^ 1]), "checksum_mismatch"


@pytest.mark.parametrize(("data", "counter"), list(small_changes(frame_bytes(model_frame()))))
@in_trio
async def test_damaged_frames_are_refused_by_name(data, counter):
    handled = []
    async with serving_host(lambda *a: handled.append(a)) as host, Outlaw.connected_to(host) as outlaw:
        await outlaw.open_stream()
        await outlaw.send_data(data)
        await outlaw.receive_until(counter.encode())
        assert host.counters.refused == {counter: 1}
        if counter != "unsupported_version":
            await outlaw.receive_all()  # the connection is closed on whoever broke the protocol
        assert not handled
        await until(lambda: not host._server.places.taken)


PREAMBLE = struct.Struct("<4sHHIIQ")


def rewritten(frame, *, body=None, **changes):
    """The frame with other header fields or another body, and all lengths and checksums right."""
    magic, version, kind, header_bytes, _, _ = PREAMBLE.unpack(frame[:24])
    fields = msgpack.unpackb(frame[24 : 24 + header_bytes])
    body = frame[24 + header_bytes :] if body is None else body
    fields |= {"checksum": xxhash.xxh3_64_intdigest(body)} | changes
    header = msgpack.packb(fields)
    checksum = xxhash.xxh32_intdigest(header)
    return PREAMBLE.pack(magic, version, kind, len(header), checksum, len(body)) + header + body


HONEST = frame_bytes(model_frame())


@pytest.mark.parametrize(
    ("frame", "counter", "closes"),
    [
        (rewritten(HONEST, task=b"x" * 32), "incompatible_task", False),
        (rewritten(HONEST, layout=b"x" * 32), "incompatible_model", False),
        (rewritten(HONEST, codec="int3"), "unknown_codec", False),
        (rewritten(HONEST, tensors=[["row", "float64", [SMALL]]]), "unexpected_tensor", True),
        (rewritten(HONEST, tensors=[["row", "float32", [SMALL + 1]]]), "unexpected_tensor", True),
        (rewritten(HONEST, tensors=[["row", "float32", [2**62, 2]]]), "unexpected_tensor", True),
        (rewritten(HONEST, tensors=[["row", "float32", [1]]] * 50), "message_too_large", True),
        (rewritten(HONEST, age=-1), "malformed_frame", True),
        (rewritten(HONEST, surprise=1), "malformed_frame", True),
        (rewritten(HONEST, body=struct.pack("<f", float("nan")) * SMALL), "non_finite_update", False),
        (rewritten(HONEST, body=struct.pack("<f", float("inf")) * SMALL), "non_finite_update", False),
    ],
)
@in_trio
async def test_frames_that_lie_are_refused_by_name(frame, counter, closes):
    handled = []
    async with serving_host(lambda *a: handled.append(a)) as host, Outlaw.connected_to(host) as outlaw:
        await outlaw.open_stream()
        await outlaw.send_data(frame)
        await outlaw.receive_until(counter.encode())
        assert host.counters.refused == {counter: 1}
        assert not handled
        if closes:
            await outlaw.receive_all()
        else:
            await outlaw.send(frame_header(PING, SYN, 0, 7))
            await outlaw.receive_until(frame_header(PING, ACK, 0, 7))


@pytest.mark.parametrize(
    "ending", [frame_header(DATA, FIN, 1, 0), frame_header(WINDOW_UPDATE, RST, 1, 0), None]
)
@in_trio
async def test_a_truncated_frame_is_never_taken_for_a_whole_one(ending):
    """A finished stream, a reset one and a lost connection look alike to a reader; none ends a message."""
    handled = []
    async with serving_host(lambda *a: handled.append(a)) as host:
        async with Outlaw.connected_to(host) as outlaw:
            await outlaw.open_stream()
            await outlaw.send_data(frame_bytes(model_frame())[:-1])
            await until(lambda: host._server.places.taken)
            if ending is not None:
                await outlaw.send(ending)
                await until(lambda: host.counters.refused)
        if ending is not None:
            assert host.counters.refused == {"truncated_frame": 1}
        await until(lambda: not host._server.places.taken)
        assert not handled


@in_trio
async def test_random_bytes_inside_a_stream():
    dice = random.Random(7)
    async with serving_host(limits=limits(offences_before_ban=1000)) as host:
        for _ in range(20):
            async with Outlaw.connected_to(host) as outlaw:
                await outlaw.open_stream()
                await outlaw.send_data(dice.randbytes(dice.randrange(24, 5_000)))
                await outlaw.receive_all()
        assert host.counters.refused == {"malformed_frame": 20}
        await assert_serves(host)


@in_trio
async def test_random_bytes_inside_the_connection():
    dice = random.Random(8)
    async with serving_host() as host:
        for _ in range(20):
            async with Outlaw.connected_to(host) as outlaw:
                with suppress(trio.BrokenResourceError):
                    await outlaw.send(dice.randbytes(dice.randrange(12, 5_000)))
                    await outlaw.send(frame_header(GO_AWAY, 0, 0, 0))
                await outlaw.receive_all()
        await assert_serves(host)


@in_trio
async def test_random_bytes_instead_of_a_handshake_and_of_a_record():
    dice = random.Random(9)
    async with serving_host(limits=limits(dial_seconds=0.3)) as host:
        for _ in range(10):
            async with await trio.open_tcp_stream(*tcp_address(host)) as socket:
                await socket.send_all(dice.randbytes(200))
                with suppress(trio.BrokenResourceError):
                    while await socket.receive_some():
                        pass
        async with Outlaw.connected_to(host) as outlaw:
            await outlaw.secured.socket.send_all(b"\x00\x20" + dice.randbytes(32))
            await outlaw.receive_all()
        assert host.counters.refused["malformed_frame"] == 1
        await assert_serves(host)


@in_trio
async def test_questions_without_end_whose_answers_nobody_reads():
    async with serving_host() as host, Outlaw.connected_to(host) as outlaw:
        flood = frame_header(PING, SYN, 0, 0) * 5_000
        with pytest.raises((trio.BrokenResourceError, trio.ClosedResourceError)):
            for _ in range(2_000):
                await outlaw.send(flood)
        await until(lambda: not host._table.all())
        assert host.counters.refused in ({"malformed_frame": 1}, {"useless_traffic": 1})


@in_trio
async def test_pings_are_answered():
    async with serving_host() as host, Outlaw.connected_to(host) as outlaw:
        await outlaw.send(frame_header(PING, SYN, 0, 42))
        [(kind, flags, _, value, _)] = frames_in(await outlaw.receive_plaintext())
        assert (kind, flags, value) == (PING, 2, 42)


@in_trio
async def test_repeated_offences_bring_a_ban_that_grows():
    quick = limits(offences_before_ban=2, first_ban_seconds=1.0)
    identity = Identity.generate()
    async with serving_host(limits=quick) as host:
        for _ in range(3):
            async with Outlaw.connected_to(host, identity) as outlaw:
                await outlaw.send(frame_header(9, 0, 1, 0))
                await outlaw.receive_all()
        assert host.is_banned(identity.peer_id)
        refused = host.counters.refused["connection_refused_by_policy"]
        with suppress(ConnectionLost):  # the host may be faster than the end of the handshake
            async with Outlaw.connected_to(host, identity) as outlaw:
                assert await outlaw.receive_plaintext() is None
        await until(lambda: host.counters.refused["connection_refused_by_policy"] == refused + 1)
        await assert_serves(host)
        await until(lambda: not host.is_banned(identity.peer_id))
        async with Outlaw.connected_to(host, identity) as outlaw:
            await outlaw.send(frame_header(PING, SYN, 0, 1))
            assert await outlaw.receive_plaintext() is not None


@in_trio
async def test_who_sends_too_often_is_refused_and_the_others_are_not():
    async with serving_host(limits=limits(frames_per_second=5.0)) as host, serving_host() as client:
        with pytest.raises(RefusedByNeighbour, match="rate_limited"):
            for sequence in range(20):
                await client.exchange(host.peer_id, host.addresses, model_frame(sequence=sequence))
        assert host.counters.refused == {"rate_limited": 1}
        assert client.connected() == {host.peer_id}
        await assert_serves(host)


@in_trio
async def test_a_thousand_connections_from_one_address():
    tight = limits(connections_per_address=32, handshakes=32)
    async with serving_host(limits=tight) as host:
        await assert_serves(host)
        process = psutil.Process()
        descriptors, memory = process.num_fds(), resident_bytes()
        sockets = []
        for _ in range(1_000):
            sockets.append(await trio.open_tcp_stream(*tcp_address(host), local_address="127.0.0.2"))
            if len(sockets) > 200:  # this test's own ends would use up the descriptors
                await sockets.pop(0).aclose()
        await until(lambda: host.counters.refused["connection_refused_by_policy"] > 800)
        assert 0 < host._table._by_address["127.0.0.2"] <= 16
        await assert_serves(host)  # while the flood has all the places it can get
        for socket in sockets:
            await socket.aclose()
        await until(lambda: not host._table._by_address)
        assert process.num_fds() <= descriptors + 5
        assert resident_bytes() - memory < 20_000_000
        await assert_serves(host)


@in_trio
async def test_honest_peers_are_served_while_an_address_is_flooded_by_a_single_identity():
    async with serving_host() as host:
        identity = Identity.generate()
        async with trio.open_nursery() as nursery:

            async def hold():
                async with Outlaw.connected_to(host, identity) as outlaw:
                    await outlaw.receive_all()

            for _ in range(10):
                nursery.start_soon(hold)
            await until(lambda: host.counters.connections_accepted == 10)
            assert len(host._table.of_peer(identity.peer_id)) <= host.limits.connections_per_peer
            await assert_serves(host)
            nursery.cancel_scope.cancel()


@in_trio
async def test_more_than_250_connections_in_a_lifetime():
    """Stock libp2p never frees the place of an inbound connection: the 251st of a lifetime is refused."""
    async with serving_host() as host:
        identity = Identity.generate()
        for sequence in range(260):
            async with Outlaw.connected_to(host, identity) as outlaw:
                await outlaw.send(frame_header(PING, SYN, 0, sequence))
                assert await outlaw.receive_plaintext() is not None
                await outlaw.send(frame_header(GO_AWAY, 0, 0, 0))
        assert host.counters.connections_accepted == 260
        await until(lambda: not host._table.all())
        await assert_serves(host)
