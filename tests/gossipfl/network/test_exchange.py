"""Exchanges between honest hosts, and everything that can go wrong with them without malice."""

import gc

import pytest
import trio

from gossipfl.errors import (
    ExchangeFailed,
    ExchangeTimedOut,
    IdentityMismatch,
    IncompatibleTask,
    NonFiniteUpdate,
    PeerBusy,
    PeerUnreachable,
    RefusedByNeighbour,
    ReplayedMessage,
)
from gossipfl.network import Identity
from gossipfl.wire import Acknowledgement, ModelMessage

from .helpers import (
    SMALL,
    acknowledge,
    in_trio,
    limits,
    model_frame,
    serving_host,
    until,
)

LARGE = 2_000_000  # numbers in a row: 8 MB


@in_trio
async def test_a_frame_arrives_whole_and_its_reply_comes_back():
    received = []

    async def handler(peer_id, message):
        received.append((peer_id, message))
        return await acknowledge(peer_id, message)

    async with serving_host(handler) as server, serving_host() as client:
        frame = model_frame(sequence=7, value=2.5)
        reply = await client.exchange(server.peer_id, server.addresses, frame)
        assert reply == Acknowledgement(incarnation=1, sequence=7)
        [(peer_id, message)] = received
        assert peer_id == client.peer_id
        assert isinstance(message, ModelMessage)
        assert message.row.shape == (SMALL,)
        assert (message.row == 2.5).all()
        assert client.counters.bytes_sent == frame.size == server.counters.bytes_received
        await until(lambda: server.counters.messages_sent == 1)
        assert server.counters.bytes_sent == client.counters.bytes_received


@in_trio
async def test_one_connection_and_one_stream_serve_many_exchanges_in_sequence():
    async with serving_host() as server, serving_host() as client:
        for sequence in range(50):
            await client.exchange(server.peer_id, server.addresses, model_frame(sequence=sequence))
        assert client.counters.connections_dialled == 1
        [connection] = client._table.of_peer(server.peer_id)
        assert len(connection.multiplexer.streams) == 1


@in_trio
async def test_the_answering_side_uses_the_connection_that_is_there():
    async with serving_host() as one, serving_host() as other:
        await one.exchange(other.peer_id, other.addresses, model_frame())
        await other.exchange(one.peer_id, [], model_frame())
        assert other.counters.connections_dialled == 0


@in_trio
async def test_many_large_exchanges_both_ways_at_once_do_not_deadlock():
    """Stock libp2p hangs for ever here: its reader waits for a writer that waits for the other reader."""
    done = []

    patient = {"size": LARGE, "limits": limits(offer_seconds=50.0)}
    async with serving_host(**patient) as one, serving_host(**patient) as other:
        frame = model_frame(LARGE)

        async def exchange(source, target):
            await source.exchange(target.peer_id, target.addresses, frame, seconds=50)
            done.append(source)

        await one.exchange(other.peer_id, other.addresses, frame)
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(exchange, one, other)
                nursery.start_soon(exchange, other, one)
        assert len(done) == 20
        assert one.counters.connections_dialled + other.counters.connections_dialled == 1


@in_trio
async def test_many_tasks_share_one_dial_and_wait_for_their_turn():
    async with serving_host() as server, serving_host(limits=limits(streams_per_neighbour=2)) as client:
        async with trio.open_nursery() as nursery:
            for sequence in range(20):
                nursery.start_soon(
                    client.exchange, server.peer_id, server.addresses, model_frame(sequence=sequence)
                )
        assert server.counters.messages_received == 20
        assert client.counters.connections_dialled == 1
        [connection] = client._table.of_peer(server.peer_id)
        assert len(connection.multiplexer.streams) <= 2


@pytest.mark.parametrize("moment", [0.0, 0.002, 0.01, 0.02, 0.03, 0.05])
@in_trio
async def test_cancelling_an_exchange_at_any_moment_harms_no_other_on_the_connection(moment):
    """In stock libp2p a cancelled write leaves half a Noise message behind, which ends the connection."""
    async with serving_host(size=LARGE) as server, serving_host(size=LARGE) as client:
        frame = model_frame(LARGE)
        await client.exchange(server.peer_id, server.addresses, frame)
        outcomes = []

        async def unharmed():
            outcomes.append(await client.exchange(server.peer_id, server.addresses, frame))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(unharmed)
            for _ in range(3):
                with trio.move_on_after(moment):
                    await client.exchange(server.peer_id, server.addresses, frame)
            nursery.start_soon(unharmed)
        assert len(outcomes) == 2
        assert client.counters.connections_dialled == 1
        assert not client.counters.refused


@in_trio
async def test_a_slow_handler_ends_in_a_time_out_and_the_connection_stays():
    started = trio.Event()

    async def sleeper(peer_id, message):
        if message.header.sequence == 1:
            started.set()
            await trio.sleep_forever()
        return await acknowledge(peer_id, message)

    async with serving_host(sleeper) as server, serving_host() as client:
        with pytest.raises(ExchangeTimedOut, match=r"at most 0\.3 s"):
            await client.exchange(server.peer_id, server.addresses, model_frame(), seconds=0.3)
        assert started.is_set()
        await client.exchange(server.peer_id, server.addresses, model_frame(sequence=2))
        await trio.sleep(2.2)  # longer than a suspected peer has to give a sign of life
        await client.exchange(server.peer_id, server.addresses, model_frame(sequence=3))
        assert client.counters.connections_dialled == 1
        assert client.counters.failed == {"exchange_timed_out": 1}


@in_trio
async def test_a_handler_that_fails_harms_nobody_and_tells_nothing():
    """In stock libp2p an exception of a stream's handler ends the host."""

    async def handler(peer_id, message):
        if message.header.sequence == 1:
            raise RuntimeError("secret")
        return await acknowledge(peer_id, message)

    async with serving_host(handler) as server, serving_host() as client:
        with pytest.raises(RefusedByNeighbour, match="exchange_failed") as caught:
            await client.exchange(server.peer_id, server.addresses, model_frame())
        assert "secret" not in str(caught.value)
        await client.exchange(server.peer_id, server.addresses, model_frame(sequence=2))
        assert client.counters.connections_dialled == 1


@pytest.mark.parametrize("error", [ReplayedMessage("older"), NonFiniteUpdate("NaN"), PeerBusy("merging")])
@in_trio
async def test_a_handlers_refusal_is_told_by_name(error):
    async def handler(peer_id, message):
        raise error

    async with serving_host(handler) as server, serving_host() as client:
        expected = PeerBusy if isinstance(error, PeerBusy) else RefusedByNeighbour
        with pytest.raises(expected, match="busy" if expected is PeerBusy else error.counter()):
            await client.exchange(server.peer_id, server.addresses, model_frame())
        assert server.counters.refused == {error.counter(): 1}
        assert client.connected() == {server.peer_id}


@in_trio
async def test_a_large_frame_refused_by_its_header_is_refused_before_its_body_is_sent():
    async with serving_host(size=LARGE) as server, serving_host(size=LARGE) as client:
        with pytest.raises(RefusedByNeighbour, match="incompatible_task"):
            await client.exchange(server.peer_id, server.addresses, model_frame(LARGE, task=b"x" * 32))
        assert server.counters.refused == {IncompatibleTask.counter(): 1}
        assert server.counters.bytes_received == 0
        await client.exchange(server.peer_id, server.addresses, model_frame(LARGE))
        assert client.counters.connections_dialled == 1


@in_trio
async def test_a_screen_refuses_before_the_body():
    handled = []

    def screen(peer_id, header):
        raise ReplayedMessage("seen before")

    async with (
        serving_host(lambda *a: handled.append(a), size=LARGE, screen=screen) as server,
        serving_host(size=LARGE) as client,
    ):
        with pytest.raises(RefusedByNeighbour, match="replayed_message"):
            await client.exchange(server.peer_id, server.addresses, model_frame(LARGE))
        assert not handled


@in_trio
async def test_a_screen_that_fails_ends_its_connection_and_no_other(caplog):
    def screen(peer_id, header):
        if header.sequence == 1:
            raise RuntimeError("a fault in the screen")

    async with serving_host(screen=screen) as server, serving_host() as one, serving_host() as other:
        await other.exchange(server.peer_id, server.addresses, model_frame(sequence=2))
        with pytest.raises(ExchangeFailed):
            await one.exchange(server.peer_id, server.addresses, model_frame(sequence=1))
        await other.exchange(server.peer_id, server.addresses, model_frame(sequence=3))
        assert other.counters.connections_dialled == 1
    assert "a fault in the screen" in caplog.text


@in_trio
async def test_surplus_exchanges_are_refused_as_busy_and_not_queued():
    release, under_way = trio.Event(), []

    async def handler(peer_id, message):
        under_way.append(message)
        await release.wait()
        return await acknowledge(peer_id, message)

    tight = limits(inbound_exchanges=2, inbound_exchanges_per_peer=2)
    busy = []

    async with serving_host(handler, limits=tight) as server, serving_host() as client:

        async def exchange(sequence):
            try:
                await client.exchange(server.peer_id, server.addresses, model_frame(sequence=sequence))
            except PeerBusy as error:
                busy.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(exchange, 1)
            nursery.start_soon(exchange, 2)
            await until(lambda: len(under_way) == 2)
            await exchange(3)
            assert len(busy) == 1
            release.set()
        await exchange(4)
        assert len(busy) == 1
        assert len(under_way) == 3


@in_trio
async def test_frames_under_way_hold_no_more_memory_together_than_allowed():
    release, under_way = trio.Event(), []

    async def handler(peer_id, message):
        under_way.append(message)
        await release.wait()
        return await acknowledge(peer_id, message)

    tight = limits(inbound_bytes=2 * 4 * LARGE)
    async with (
        serving_host(handler, size=LARGE, limits=tight) as server,
        serving_host(size=LARGE) as client,
        trio.open_nursery() as nursery,
    ):
        target = (server.peer_id, server.addresses)
        nursery.start_soon(client.exchange, *target, model_frame(LARGE))
        await until(lambda: under_way)
        with pytest.raises(PeerBusy, match="too many bytes"):
            await client.exchange(*target, model_frame(LARGE, sequence=2))
        release.set()
        await until(lambda: not server.memory.reserved)
        await client.exchange(*target, model_frame(LARGE, sequence=3))
        assert server.counters.refused == {"peer_busy": 1}


@in_trio
async def test_a_host_without_a_handler_says_that_it_is_busy():
    async with serving_host(None) as server, serving_host() as client:
        with pytest.raises(PeerBusy):
            await client.exchange(server.peer_id, server.addresses, model_frame())


@in_trio
async def test_nobody_at_the_address():
    async with serving_host() as client:
        stranger = Identity.generate().peer_id
        with pytest.raises(PeerUnreachable, match="cannot be reached"):
            await client.exchange(stranger, ["/ip4/127.0.0.1/tcp/1"], model_frame())
        with pytest.raises(PeerUnreachable, match="no address"):
            await client.exchange(stranger, [], model_frame())
        assert client.counters.failed == {"peer_unreachable": 2}


@in_trio
async def test_a_dial_that_nobody_answers_is_bounded():
    """Stock libp2p waits over 25 s for a handshake that does not come."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    async with serving_host(limits=limits(dial_seconds=0.3)) as client:
        start = trio.current_time()
        with pytest.raises(PeerUnreachable, match=r"no answer within 0\.3 s"):
            await client.exchange(Identity.generate().peer_id, [f"/ip4/127.0.0.1/tcp/{port}"], model_frame())
        assert trio.current_time() - start < 10
    await listeners[0].aclose()


@in_trio
async def test_a_dead_address_in_front_of_a_good_one_costs_little():
    async with serving_host() as server, serving_host() as client:
        addresses = ["/ip4/127.0.0.1/tcp/1", *server.addresses]
        await client.exchange(server.peer_id, addresses, model_frame(), seconds=10)


@in_trio
async def test_another_peer_at_the_address_is_a_mismatch_of_identities():
    async with serving_host() as server, serving_host() as client:
        address = server.addresses[0].rpartition("/p2p/")[0]
        with pytest.raises(IdentityMismatch):
            await client.exchange(Identity.generate().peer_id, [address], model_frame())
        assert client.connected() == frozenset()


@in_trio
async def test_a_peer_that_restarted_on_a_new_port_is_reached_at_once():
    """Stock libp2p tries the stale address first, and remembers the failure for a minute."""
    identity = Identity.generate()
    async with serving_host() as client:
        async with serving_host(identity=identity) as first:
            await client.exchange(first.peer_id, first.addresses, model_frame())
            old = first.addresses
        with pytest.raises((PeerUnreachable, ExchangeFailed)):
            await client.exchange(identity.peer_id, old, model_frame())
        async with serving_host(identity=identity) as second:
            assert second.addresses != old
            await client.exchange(identity.peer_id, second.addresses, model_frame(), seconds=5)
            await client.exchange(identity.peer_id, [*old, *second.addresses], model_frame(), seconds=5)


@in_trio
async def test_nobody_is_dialled_but_for_an_exchange():
    """Stock libp2p connects to every peer it knows, which turns every topology into a full mesh."""
    async with serving_host() as hub, serving_host() as one, serving_host() as other:
        await one.exchange(hub.peer_id, hub.addresses, model_frame())
        await other.exchange(hub.peer_id, hub.addresses, model_frame())
        await trio.sleep(0.5)
        assert one.connected() == other.connected() == {hub.peer_id}
        assert hub.connected() == {one.peer_id, other.peer_id}
        assert hub.counters.connections_dialled == 0


@in_trio
async def test_an_aborted_peer_fails_its_exchange_and_no_other():
    release = trio.Event()

    async def handler(peer_id, message):
        await release.wait()
        return await acknowledge(peer_id, message)

    async with serving_host(handler) as one, serving_host(handler) as other, serving_host() as client:
        outcomes = {}

        async def exchange(host):
            try:
                outcomes[host] = await client.exchange(host.peer_id, host.addresses, model_frame())
            except ExchangeFailed as error:
                outcomes[host] = error

        async with trio.open_nursery() as nursery:
            nursery.start_soon(exchange, one)
            nursery.start_soon(exchange, other)
            await until(lambda: client.connected() == {one.peer_id, other.peer_id})
            await until(lambda: one._server.places.taken and other._server.places.taken)
            client.abort(one.peer_id)
            assert client.connected() == {other.peer_id}
            await until(lambda: one in outcomes)
            release.set()
        assert isinstance(outcomes[one], ExchangeFailed)
        assert isinstance(outcomes[other], Acknowledgement)
        assert client.counters.connections_dialled == 2


@in_trio
async def test_a_stream_idle_for_too_long_is_closed_on_both_sides_and_then_the_connection():
    patience = limits(idle_seconds=0.4, keepalive_seconds=0.2)
    async with serving_host(limits=patience) as server, serving_host(limits=patience) as client:
        await client.exchange(server.peer_id, server.addresses, model_frame())
        [connection] = client._table.of_peer(server.peer_id)
        await until(lambda: not connection.multiplexer.streams)
        await until(lambda: not client.connected() and not server.connected())
        await client.exchange(server.peer_id, server.addresses, model_frame())


@in_trio
async def test_an_exchange_survives_the_neighbours_having_closed_an_idle_stream():
    impatient = limits(idle_seconds=0.2)
    async with serving_host(limits=impatient) as server, serving_host() as client:
        for sequence in range(3):
            await client.exchange(server.peer_id, server.addresses, model_frame(sequence=sequence))
            await trio.sleep(0.3)


@in_trio
async def test_an_exchange_keeps_no_memory_of_its_row():
    rows = []

    async def handler(peer_id, message):
        rows.append(message.row.untyped_storage().data_ptr())
        return await acknowledge(peer_id, message)

    async with serving_host(handler, size=LARGE) as server, serving_host(size=LARGE) as client:
        for sequence in range(5):
            await client.exchange(server.peer_id, server.addresses, model_frame(LARGE, sequence=sequence))
            gc.collect()
    assert len(set(rows)) <= 2  # the memory of one frame serves the next


@in_trio
async def test_errors_of_the_users_block_come_out_as_they_are():
    with pytest.raises(KeyError):
        async with serving_host():
            raise KeyError("not wrapped in a group")


@in_trio
async def test_rows_that_are_still_held_are_not_overwritten():
    rows = []

    async def handler(peer_id, message):
        rows.append(message.row)
        return await acknowledge(peer_id, message)

    async with serving_host(handler, size=LARGE) as server, serving_host(size=LARGE) as client:
        for sequence in range(4):
            frame = model_frame(LARGE, sequence=sequence, value=float(sequence))
            await client.exchange(server.peer_id, server.addresses, frame)
    assert [row.unique().tolist() for row in rows] == [[0.0], [1.0], [2.0], [3.0]]
