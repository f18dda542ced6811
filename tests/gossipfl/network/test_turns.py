"""Tests of the turns of a connection's streams."""

import trio

from gossipfl.network.turns import StreamTurns
from tests.gossipfl.network.helpers import in_trio, limits, model_frame, serving_host


async def hold(turns, release, *, task_status=trio.TASK_STATUS_IGNORED):
    async with turns.taken():
        task_status.started()
        await release.wait()


@in_trio
async def test_a_stream_idles_on_while_a_turn_is_free():
    """A turn that is taken without waiting once ended an idle stream that was in nobody's way."""
    turns, release, idle = StreamTurns(2), trio.Event(), trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold, turns, release)
        for _ in range(5):
            turns.begin_idle(idle)
            assert not idle.cancel_called
            turns.end_idle(idle)
            await trio.lowlevel.checkpoint()
        release.set()


@in_trio
async def test_as_many_idle_streams_end_as_others_wait():
    turns, release = StreamTurns(3), trio.Event()
    scopes = [trio.CancelScope() for _ in range(3)]
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            await nursery.start(hold, turns, release)
        turns.begin_idle(scopes[0])
        turns.begin_idle(scopes[1])
        nursery.start_soon(hold, turns, release)
        while not turns.waiting:
            await trio.lowlevel.checkpoint()
        turns.begin_idle(scopes[2])
        assert [scope.cancel_called for scope in scopes] == [True, False, False]
        nursery.start_soon(hold, turns, release)
        while turns.waiting < 2:
            await trio.lowlevel.checkpoint()
        assert [scope.cancel_called for scope in scopes] == [True, True, False]
        release.set()


@in_trio
async def test_more_streams_than_turns_are_all_answered():
    """Idle streams give way in the middle of it, also those of a connection that was just made."""
    tight = limits(streams_per_connection=2, inbound_exchanges_per_peer=64)
    async with (
        serving_host(limits=tight) as server,
        serving_host(limits=limits(streams_per_neighbour=3)) as client,
    ):
        async with trio.open_nursery() as nursery:
            for sequence in range(1, 61):
                nursery.start_soon(
                    client.exchange, server.peer_id, server.addresses, model_frame(sequence=sequence)
                )
        assert server.counters.messages_received == 60
        assert not client.counters.failed
