"""Caps on the bytes a second of a host."""

import itertools
import socket
import sys

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.network.caps import Cap
from gossipfl.network.receive_room import ReceiveRoom

from .helpers import in_trio, model_frame, serving_host

LARGE = 25_000  # numbers: 100 kB
MBITS = 4.0


@given(
    rate=st.floats(1e4, 1e8),
    pauses=st.lists(st.floats(0.0, 3.0), max_size=5),
    share=st.floats(0.01, 1.0),
)
def test_no_ten_seconds_hold_more_than_a_tenth_too_much(rate, pauses, share):
    now, passed = 0.0, []
    cap = Cap(rate, now=now)
    for number in range(300):
        now += cap.wait(now) + (pauses[number % 7] if number % 7 < len(pauses) else 0.0)
        size = max(1, int(share * cap.piece))
        cap.charge(size, now=now)
        passed.append((now, size))
    for since, _ in passed:
        assert sum(size for at, size in passed if since <= at < since + 10) <= 11 * rate + 2 * cap.piece


def room_and_lock(stream):
    """What the kernel takes of a connection (Linux doubles it), and whether it chooses that itself."""
    room = stream.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
    is_locked = stream.getsockopt(socket.SOL_SOCKET, 72) & 2  # SO_BUF_LOCK, SOCK_RCVBUF_LOCK
    return room, bool(is_locked)


@pytest.mark.skipif(sys.platform != "linux", reason="the options are of Linux")
@in_trio
async def test_what_is_not_read_is_limited_and_without_a_cap_the_kernel_chooses_again():
    """What it had taken broke a cap of 4 Mbit/s by a fifth, over ten seconds in which several rows began."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, await trio.open_tcp_stream(*listener.socket.getsockname()[:2]) as stream:
        usual, is_locked = room_and_lock(stream)
        assert not is_locked
        room = ReceiveRoom(stream)
        segment = stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
        for most in (2 * segment + 1000, 2 * segment + 5000, 100):
            room.limit(most)
            assert room_and_lock(stream) == (max(most, 2 * segment), True)
        room.limit(None)
        room, is_locked = room_and_lock(stream)
        assert room >= usual
        assert not is_locked


async def seconds_for(count, client, host, *, first):
    """Send several rows at once, and return how long it took."""
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for sequence in range(first, first + count):
            frame = model_frame(LARGE, sequence=sequence)
            nursery.start_soon(client.exchange, host.peer_id, host.addresses, frame)
    return trio.current_time() - began


async def soon(measure, is_right):
    """Measure until it is right: a busy machine may be slow, but not every time."""
    for _ in range(20):
        measured = await measure()
        if is_right(measured):
            return measured
    raise AssertionError(f"not once in twenty times; at last {measured}")


@pytest.mark.parametrize("capped", ["upload", "download"])
@in_trio
async def test_all_connections_together_keep_to_a_cap_that_may_change(capped):
    count, size, cap, sent = 8, 4 * LARGE, MBITS * 1e6 / 8, itertools.count(1, 100)
    async with serving_host(size=LARGE) as one, serving_host(size=LARGE) as host:
        await seconds_for(1, one, host, first=next(sent))
        lane = one.link.upload if capped == "upload" else host.link.download

        async def rate():
            lane.limit(MBITS)
            moved = lane.moved
            seconds = await seconds_for(count, one, host, first=next(sent))
            assert count * size < lane.moved - moved < 1.1 * count * size
            assert (lane.moved - moved) / seconds < 1.1 * cap
            return (lane.moved - moved) / seconds

        await soon(rate, lambda rate: rate > 0.9 * cap)
        [connection] = host._table.of_peer(one.peer_id)
        if sys.platform == "linux":
            assert room_and_lock(connection._socket)[1] == (capped == "download")
        lane.limit(None)
        await soon(
            lambda: seconds_for(count, one, host, first=next(sent)),
            lambda seconds: seconds < count * size / cap / 2,
        )
