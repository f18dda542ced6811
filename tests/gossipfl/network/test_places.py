"""Places: kept for peers of standing, fair to networks, and lost by the silent and the slow."""

from contextlib import AsyncExitStack, suppress
from functools import partial

import pytest
import trio

from gossipfl.errors import PeerBusy
from gossipfl.network import Identity
from gossipfl.network.addresses import prefix_of
from gossipfl.network.yamux.headers import DATA, FIN, PING, RST, SYN, WINDOW_UPDATE, frame_header
from gossipfl.wire import Acknowledgement

from .helpers import (
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


async def silent_sockets(stack, host, count, *, source):
    return [
        await stack.enter_async_context(await trio.open_tcp_stream(*tcp_address(host), local_address=source))
        for _ in range(count)
    ]


async def silent_peers(stack, host, count, *, source="127.0.0.1"):
    return [await stack.enter_async_context(Outlaw.connected_to(host, source=source)) for _ in range(count)]


@pytest.mark.parametrize(
    ("host", "prefix"),
    [
        ("203.0.113.77", "203.0.113.0/24"),
        ("::ffff:203.0.113.77", "203.0.113.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/48"),
    ],
)
def test_prefixes(host, prefix):
    assert prefix_of(host) == prefix


@in_trio
async def test_silent_sockets_of_two_networks_keep_nobody_out_of_a_third():
    """They used to take all places for handshakes, and nine of ten newcomers were reset."""
    async with serving_host(limits=limits(handshakes=16)) as host, AsyncExitStack() as stack:
        for _ in range(10):
            for source in ("127.0.1.1", "127.0.2.1"):
                await silent_sockets(stack, host, 4, source=source)
        await until(lambda: len(host._newcomers) == 16)
        for _ in range(10):
            await assert_serves(host)
        assert host.counters.refused["connection_refused_by_policy"] >= 64


@in_trio
async def test_a_newcomer_of_the_same_network_waits_until_the_silent_are_late():
    async with serving_host(limits=limits(handshakes=4)) as host, AsyncExitStack() as stack:
        for i in range(2):
            await silent_sockets(stack, host, 2, source=f"127.0.0.{10 + i}")
        await until(lambda: len(host._newcomers) == 4)
        for newcomer in host._newcomers._waiting:
            newcomer.since -= 2.0  # as if they had been silent for so long
        await assert_serves(host)


@in_trio
async def test_silent_connections_give_way_to_whoever_comes():
    """256 of them used to keep a returning neighbour out."""
    tight = limits(connections=8, connections_per_address=8)
    async with serving_host(limits=tight) as host, AsyncExitStack() as stack:
        async with serving_host() as friend:
            await friend.exchange(host.peer_id, host.addresses, model_frame())
        await until(lambda: not host._table.all())
        await silent_peers(stack, host, 8, source="127.0.1.1")
        await until(
            lambda: host.counters.connections_accepted == 7
        )  # the last two are over a stranger's share
        assert len(host._table) == 6
        async with serving_host() as stranger, serving_host(identity=identity_of_host(friend)) as again:
            await again.exchange(host.peer_id, host.addresses, model_frame(sequence=2))
            assert len(host._table) == 7
            await stranger.exchange(host.peer_id, host.addresses, model_frame())
        assert len(host._table) <= 8


def identity_of_host(host):
    return host._announcer.identity


@in_trio
async def test_connections_in_use_do_not_give_way_to_strangers():
    release = trio.Event()

    async def handler(peer_id, message):
        await release.wait()
        return await acknowledge(peer_id, message)

    tight = limits(connections=4, connections_per_address=4)
    async with serving_host(handler, limits=tight) as host, AsyncExitStack() as stack:
        users = await silent_peers(stack, host, 3)
        for user in users:
            await user.open_stream()
            await user.send_data(frame_bytes(model_frame()))
        await until(lambda: len(host._server.places.taken) == 3)
        async with serving_host() as stranger:
            with pytest.raises(Exception, match=r"gave|closed|reached|stream"):
                await stranger.exchange(host.peer_id, host.addresses, model_frame(), seconds=3)
        release.set()
        for user in users:
            await user.receive_until(b"GSFL")


async def drip(outlaw, data, *, streams):
    """Send a byte now and then on each stream, over and over, until the host has had enough."""
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        for start in range(1, 10_000, 2 * streams):
            numbers = range(start, start + 2 * streams, 2)
            for number in numbers:
                await outlaw.open_stream(number)
            for byte in data[:20]:
                for number in numbers:
                    await outlaw.send_data(bytes([byte]), number)
                await trio.sleep(0.1)


@in_trio
async def test_exchanges_that_drip_are_cut_by_their_pace_and_their_peers_banned():
    """64 of them by 8 identities used to make every honest newcomer busy for as long as they liked."""
    tight = limits(inbound_exchanges=16, inbound_exchanges_per_peer=8, grace_seconds=0.5)
    async with serving_host(limits=tight) as host, AsyncExitStack() as stack:
        outlaws = await silent_peers(stack, host, 2)
        async with trio.open_nursery() as nursery:
            for outlaw in outlaws:
                nursery.start_soon(partial(drip, outlaw, frame_bytes(model_frame()), streams=8))
            await until(lambda: host.counters.refused["exchange_timed_out"] >= 7)
            await assert_serves(host)
            await until(lambda: all(host.is_banned(outlaw.peer_id) for outlaw in outlaws))
            nursery.cancel_scope.cancel()
        await until(lambda: not host._server.places.taken)


@in_trio
async def test_exchanges_that_drip_give_way_to_those_of_another_network_before():
    tight = limits(inbound_exchanges=8, inbound_exchanges_per_peer=8)
    async with serving_host(limits=tight) as host, AsyncExitStack() as stack:
        [outlaw] = await silent_peers(stack, host, 1, source="127.0.1.1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(drip, outlaw, frame_bytes(model_frame()), streams=8))
            await until(lambda: len(host._server.places.taken) == 6)  # a quarter is kept
            for place in host._server.places.taken:
                place.since -= 1.0
            await assert_serves(host)
            nursery.cancel_scope.cancel()


@in_trio
async def test_a_large_row_at_an_honest_pace_is_not_cut():
    size = 100_000
    tight = limits(grace_seconds=0.3, exchange_seconds=20.0)
    async with serving_host(size=size, limits=tight) as host, AsyncExitStack() as stack:
        [slow] = await silent_peers(stack, host, 1)
        await slow.open_stream()
        data = frame_bytes(model_frame(size))
        for start in range(0, len(data), 20_000):
            await slow.send_data(data[start : start + 20_000])
            await trio.sleep(0.1)
        await slow.receive_until(b"GSFL")
        assert not host.counters.refused


@in_trio
async def test_after_a_request_and_a_half_close_the_answer_comes_and_then_the_end():
    """The answer used to be followed by a reset, or not to come: js-libp2p, go-libp2p and py-libp2p lost it."""
    for early in (True, False):
        started, release = trio.Event(), trio.Event()

        async def handler(peer_id, message):
            started.set()  # noqa: B023
            await release.wait()  # noqa: B023
            return await acknowledge(peer_id, message)

        async with serving_host(handler) as host, Outlaw.connected_to(host) as outlaw:
            await outlaw.open_stream()
            await outlaw.send_data(frame_bytes(model_frame()))
            await started.wait()
            if early:
                await outlaw.send(frame_header(DATA, FIN, 1, 0))
                await outlaw.send(frame_header(PING, SYN, 0, 1))
                await outlaw.receive_until(frame_header(PING, 2, 0, 1))
            release.set()
            received = b"" if early else await outlaw.receive_until(b"GSFL")
            if not early:
                await outlaw.send(frame_header(DATA, FIN, 1, 0))
            received += await outlaw.receive_until(frame_header(WINDOW_UPDATE, FIN, 1, 0))
            assert b"GSFL" in received
            assert not any(flags & RST for _, flags, _, _, _ in frames_in(received))
            assert not host.counters.refused
            assert host.counters.messages_sent == 1


@in_trio
async def test_the_seventeenth_stream_waits_for_its_turn():
    """It used to be reset."""
    async with serving_host() as host, Outlaw.connected_to(host) as outlaw:
        streams = [2 * i + 1 for i in range(20)]
        for sequence, stream_id in enumerate(streams, start=1):
            await outlaw.open_stream(stream_id)
            await outlaw.send_data(frame_bytes(model_frame(sequence=sequence)), stream_id)
        received = b""
        while host.counters.messages_sent < 20 or received.count(b"GSFL") < 20:
            received += await outlaw.receive_until(b"GSFL")
        assert not host.counters.refused
        [connection] = host._table.all()
        assert not connection.turns.waiting


@in_trio
async def test_who_is_known_needs_no_exchange_to_be_valued():
    friend = Identity.generate()
    tight = limits(connections=4, connections_per_address=4)
    async with serving_host(limits=tight) as host, AsyncExitStack() as stack:
        host.standing.knows = lambda peer_id: peer_id == friend.peer_id
        await silent_peers(stack, host, 3)
        async with serving_host(identity=friend) as client:
            reply = await client.exchange(host.peer_id, host.addresses, model_frame())
            assert isinstance(reply, Acknowledgement)
            assert len(host._table) == 4


@in_trio
async def test_surplus_is_refused_by_name():
    release = trio.Event()

    async def handler(peer_id, message):
        await release.wait()
        return await acknowledge(peer_id, message)

    tight = limits(inbound_exchanges=2, inbound_exchanges_per_peer=2)
    async with serving_host(handler, limits=tight) as host, AsyncExitStack() as stack:
        [one, two] = await silent_peers(stack, host, 2)
        for user in (one, two):
            await user.open_stream()
            await user.send_data(frame_bytes(model_frame()))
        await until(lambda: len(host._server.places.taken) == 2)
        async with serving_host() as third:
            with pytest.raises(PeerBusy):
                await third.exchange(host.peer_id, host.addresses, model_frame())
        release.set()
