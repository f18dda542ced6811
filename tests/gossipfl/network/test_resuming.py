"""Large models whose connection breaks: continued where they were cut off, or given up for newer ones."""

from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import torch
import trio

from gossipfl.errors import ExchangeFailed, PeerBusy
from gossipfl.network import exchanging, serving
from gossipfl.network.partials import CHUNK_BYTES, Partials, chunk_digests
from gossipfl.network.resuming import agreed_chunks
from gossipfl.wire import Acknowledgement
from tests.gossipfl.network.helpers import (
    acknowledge,
    in_trio,
    limits,
    model_frame,
    serving_host,
    tcp_address,
    until,
)

ROW = 6_000_000  # numbers


class Wire:
    """A relay between a client and a server, which cuts the connection each time so many bytes have passed.

    Bytes are counted from the client to the server, or back. With ``is_silent`` only the client's side is cut: the
    server hears nothing, and waits.
    """

    def __init__(self, target, cuts, *, back=False, is_silent=False):
        self.target, self.cuts = target, list(cuts)
        self.passed = 0
        self._back, self._is_silent = back, is_silent

    @asynccontextmanager
    async def laid(self):
        async with trio.open_nursery() as nursery:
            [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, self._connect, [listener])
            yield f"/ip4/127.0.0.1/tcp/{listener.socket.getsockname()[1]}"
            nursery.cancel_scope.cancel()

    async def _connect(self, client):
        server = await trio.open_tcp_stream(*self.target)
        async with client, server, trio.open_nursery() as nursery:
            nursery.start_soon(self._pass, client, server, nursery, not self._back)
            nursery.start_soon(self._pass, server, client, nursery, self._back)

    async def _pass(self, source, sink, nursery, is_counted):
        try:
            async for data in source:
                await sink.send_all(data)
                if is_counted:
                    self.passed += len(data)
                    if self.cuts and self.passed >= self.cuts[0]:
                        self.cuts.pop(0)
                        if self._is_silent:
                            await (sink if self._back else source).aclose()
                            await trio.sleep_forever()
                        break
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            if self._is_silent:
                await trio.sleep_forever()
        nursery.cancel_scope.cancel()


def received_into(received):
    async def handler(peer_id, message):
        received.append(message.row)
        return await acknowledge(peer_id, message)

    return handler


def frame(size=ROW, *, sequence=1):
    return model_frame(size, sequence=sequence, value=float(sequence))


async def sent_over(cuts, *, size=ROW, seconds=50, renew=None, is_silent=False, **options):
    """Send a model over a wire with cuts; give what arrived, the reply, and the bytes that passed."""
    received = []
    async with (
        serving_host(received_into(received), size=size, **options) as server,
        serving_host(size=size) as client,
    ):
        wire = Wire(tcp_address(server), cuts, is_silent=is_silent)
        async with wire.laid() as address:
            target = (server.peer_id, [f"{address}/p2p/{server.peer_id}"])
            reply = await client.exchange(*target, frame(size), seconds=seconds, renew=renew)
        assert not wire.cuts
        assert not server._server.partials.size
        assert not server.memory.reserved
        return received, reply, wire.passed


@in_trio
async def test_a_model_is_continued_after_three_cuts_and_hardly_anything_sent_twice():
    received, reply, passed = await sent_over([5_000_000, 11_000_000, 17_000_000])
    assert isinstance(reply, Acknowledgement)
    assert len(received) == 1
    assert torch.equal(received[0], torch.ones(ROW))
    assert passed < 4 * ROW + 4 * CHUNK_BYTES


@in_trio
async def test_a_model_is_continued_although_the_other_side_has_not_noticed_that_the_connection_broke():
    """It began anew, and was refused where memory was short: the server kept the first one's for a minute."""
    received, reply, passed = await sent_over(
        [5_000_000, 11_000_000, 17_000_000], is_silent=True, limits=limits(inbound_bytes=9 * ROW)
    )
    assert isinstance(reply, Acknowledgement)
    assert len(received) == 1
    assert torch.equal(received[0], torch.ones(ROW))
    assert passed < 4 * ROW + 4 * CHUNK_BYTES


@pytest.mark.slow
@pytest.mark.parametrize("is_silent", [False, True])
@in_trio
async def test_of_200_mb_at_most_a_twentieth_is_sent_twice(is_silent):
    size = 50_000_000
    received, _, passed = await sent_over([30e6, 90e6, 170e6], size=size, is_silent=is_silent)
    print(f"sent twice: {passed / (4 * size) - 1:.2%}")
    assert torch.equal(received[0], torch.ones(size))
    assert passed <= 1.05 * 4 * size


@in_trio
async def test_a_newer_model_is_sent_instead_where_that_is_worth_more():
    asked = []

    async def renew(remaining):
        asked.append(remaining)
        return frame(sequence=2)

    received, _, passed = await sent_over([6_000_000], renew=renew)
    assert torch.equal(received[0], torch.full((ROW,), 2.0))
    assert 0.7 < asked[0] < 0.9
    assert passed > 4 * ROW + 5_000_000


@in_trio
async def test_without_room_for_what_was_received_the_model_is_sent_again():
    taken = []

    class Full(Partials):
        def keep(self, *arguments):
            super().keep(*arguments)
            taken.append(self.size)
            self.shrink_to(0)

    received = []
    async with (
        serving_host(received_into(received), size=ROW) as server,
        serving_host(size=ROW) as client,
    ):
        server._server.partials = Full(trio.current_time)
        wire = Wire(tcp_address(server), [8_000_000])
        async with wire.laid() as address:
            await client.exchange(server.peer_id, [f"{address}/p2p/{server.peer_id}"], frame(), seconds=50)
        assert torch.equal(received[0], torch.ones(ROW))
        assert taken[0] >= 5_000_000
        assert wire.passed > 4 * ROW + 5_000_000


@in_trio
async def test_a_peer_that_does_not_know_the_protocol_is_sent_the_whole_model(monkeypatch):
    monkeypatch.setattr(serving, "RESUME_PROTOCOL", "/of/another/program")
    received, _, passed = await sent_over_without_partials([8_000_000])
    assert torch.equal(received[0], torch.ones(ROW))
    assert passed > 4 * ROW + 5_000_000


async def sent_over_without_partials(cuts):
    received = []
    async with serving_host(received_into(received), size=ROW) as server, serving_host(size=ROW) as client:
        wire = Wire(tcp_address(server), cuts)
        async with wire.laid() as address:
            await client.exchange(server.peer_id, [f"{address}/p2p/{server.peer_id}"], frame(), seconds=50)
        return received, None, wire.passed


@in_trio
async def test_a_receiver_that_is_busy_by_then_says_so_and_keeps_what_it_has():
    received, busy = [], [False]

    def screen(peer_id, header):
        if busy[0]:
            raise PeerBusy("the mailbox is full")

    async with (
        serving_host(received_into(received), size=ROW, screen=screen) as server,
        serving_host(size=ROW) as client,
    ):
        wire = Wire(tcp_address(server), [8_000_000])
        original = Partials.keep

        def keep(self, *arguments):
            original(self, *arguments)
            busy[0] = True

        server._server.partials.keep = keep.__get__(server._server.partials)
        async with wire.laid() as address:
            with pytest.raises(PeerBusy):
                await client.exchange(
                    server.peer_id, [f"{address}/p2p/{server.peer_id}"], frame(), seconds=50
                )
        assert server._server.partials.size >= 5_000_000
        assert not received


@in_trio
async def test_a_model_that_was_under_way_goes_on_although_others_have_taken_up_the_link_since():
    received = []
    async with (
        serving_host(received_into(received), size=ROW) as server,
        serving_host(size=ROW) as client,
        AsyncExitStack() as stack,
    ):
        wire = Wire(tcp_address(server), [8_000_000])
        original = Partials.keep

        def keep(self, *arguments):
            original(self, *arguments)
            for _ in range(3):
                row = stack.enter_context(server.link.download.expecting(10**12, is_valued=True))
                row.begin()

        server._server.partials.keep = keep.__get__(server._server.partials)
        async with wire.laid() as address:
            await client.exchange(server.peer_id, [f"{address}/p2p/{server.peer_id}"], frame(), seconds=50)
            with pytest.raises(PeerBusy):
                await client.exchange(server.peer_id, (), frame(sequence=2), seconds=50)
        assert torch.equal(received[0], torch.ones(ROW))


def test_what_is_kept_is_limited_in_number_memory_and_time():
    now = [0.0]
    partials = Partials(lambda: now[0])
    body = memoryview(bytearray(3 * CHUNK_BYTES))
    partials.keep("a", b"1", body, 2 * CHUNK_BYTES + 5)
    assert partials.size == 2 * CHUNK_BYTES
    assert partials.take("a", b"2", len(body)) is None
    assert partials.take("b", b"1", len(body)) is None
    assert partials.take("a", b"1", len(body) - 1) is None
    assert partials.take("a", b"1", len(body)).size == 2 * CHUNK_BYTES
    assert partials.take("a", b"1", len(body)) is None
    partials.keep("a", b"1", body, CHUNK_BYTES - 1)
    assert not partials.size
    for sender in range(20):
        partials.keep(f"{sender}", b"1", body, CHUNK_BYTES)
    assert partials.size == 8 * CHUNK_BYTES
    partials.keep("19", b"2", body, 2 * CHUNK_BYTES)
    assert partials.size == 9 * CHUNK_BYTES, "one place a sender"
    partials.shrink_to(4 * CHUNK_BYTES)
    assert partials.size <= 4 * CHUNK_BYTES
    assert partials.take("19", b"2", len(body)) is not None, "the oldest go first"
    now[0] = 121.0
    partials.expire()
    assert not partials.size


def test_digests_are_of_whole_chunks_whatever_the_buffers():
    data = memoryview(bytes(range(256)) * (3 * CHUNK_BYTES // 256 + 10))
    expected = chunk_digests((data,), len(data))
    assert len(expected) == 3
    pieces = (data[:7], data[7 : CHUNK_BYTES + 3], data[CHUNK_BYTES + 3 :])
    assert chunk_digests(pieces, len(data)) == expected
    assert chunk_digests(pieces, 2 * CHUNK_BYTES - 1) == expected[:1]


@in_trio
async def test_a_sender_that_continues_beyond_what_was_offered_is_refused(monkeypatch):
    async def boast(stream, frame):
        assert await agreed_chunks(stream, frame) < 20
        return 20

    monkeypatch.setattr(exchanging, "agreed_chunks", boast)
    received = []
    async with (
        serving_host(received_into(received), size=ROW) as server,
        serving_host(size=ROW) as client,
    ):
        wire = Wire(tcp_address(server), [8_000_000])
        async with wire.laid() as address:
            with pytest.raises(ExchangeFailed):
                await client.exchange(
                    server.peer_id, [f"{address}/p2p/{server.peer_id}"], frame(), seconds=50
                )
        assert server.counters.refused["malformed_frame"]
        assert server.is_banned(client.peer_id)
        assert not server.memory.reserved
        assert not received


@in_trio
async def test_a_cancelled_continuation_leaves_nothing_behind():
    scope = trio.CancelScope()

    async def cancelled(remaining):
        scope.cancel()
        await trio.sleep_forever()

    received = []
    async with (
        serving_host(received_into(received), size=ROW) as server,
        serving_host(size=ROW) as client,
    ):
        wire = Wire(tcp_address(server), [8_000_000])
        async with wire.laid() as address:
            target = (server.peer_id, [f"{address}/p2p/{server.peer_id}"])
            with scope:
                await client.exchange(*target, frame(), seconds=50, renew=cancelled)
            await until(lambda: not server.memory.reserved and not server._server.places.taken)
            assert not any(each.multiplexer.streams for each in client._table.all())
            reply = await client.exchange(*target, frame(sequence=2), seconds=50)
        assert isinstance(reply, Acknowledgement)
        assert torch.equal(received[0], torch.full((ROW,), 2.0))
