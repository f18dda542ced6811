"""Dialling back: what a neighbour says of a port and of its clock, and how little can be had of it."""

import math
import struct
import time

import pytest
import trio

from gossipfl.errors import ExchangeFailed, MalformedFrame
from gossipfl.network.dial_back import DIAL_BACK_PROTOCOL, MOST_PORTS, DialBack
from gossipfl.network.failures import StreamFailure

from .helpers import in_trio, serving_host, tcp_address, until
from .test_libp2p_services import Counted, unused_port


async def connect(host, other):
    await host.services.connection(other.peer_id, other.addresses)


@in_trio
async def test_a_port_where_the_peer_listens_is_reached_and_no_other():
    async with serving_host() as host, serving_host() as neighbour, serving_host() as third:
        await connect(host, neighbour)
        DialBack(neighbour)
        own, others, closed = tcp_address(host)[1], tcp_address(third)[1], await unused_port()
        seen = await DialBack(host).ask(neighbour.peer_id, [own, others, closed, 0])
        assert seen.host == "127.0.0.1"
        assert seen.ports == {own: "reached", others: "another peer", closed: "unreached", 0: "not tried"}
        assert abs(seen.clock_offset) <= seen.round_trip + 0.01
        await until(lambda: len(host.connections.all()) == 1)  # those that dialled back have hung up


@pytest.mark.parametrize("ahead", [3600.0, -86_400.0])
@in_trio
async def test_a_neighbours_clock_is_compared(ahead):
    async with serving_host() as host, serving_host() as neighbour:
        await connect(host, neighbour)
        DialBack(neighbour, clock=lambda: time.time() + ahead)
        seen = await DialBack(host).ask(neighbour.peer_id, [])
        assert abs(seen.clock_offset - ahead) <= seen.round_trip + 0.01


@in_trio
async def test_nobody_can_have_others_dialled_nor_itself_often():
    async with serving_host() as host, serving_host() as neighbour:
        await connect(host, neighbour)
        DialBack(neighbour)
        dialled = neighbour.probe = Counted(neighbour.probe)
        ports, asking = [tcp_address(host)[1], *[await unused_port() for _ in range(20)]], DialBack(host)
        first, second = [await asking.ask(neighbour.peer_id, ports) for _ in range(2)]
        assert list(first.ports) == list(second.ports) == ports[:MOST_PORTS]
        assert "not tried" not in first.ports.values()
        assert list(second.ports.values()).count("not tried") >= MOST_PORTS - 1
        assert dialled.count <= 5

        stream = await host.services.open(neighbour.peer_id, [DIAL_BACK_PROTOCOL])
        await stream.write(bytes([MOST_PORTS + 1]) + bytes(2 * MOST_PORTS + 2))
        with pytest.raises(StreamFailure):
            await stream.read_exactly(1)
        assert neighbour.counters.refused["malformed_frame"] == 1
        assert dialled.count <= 5


TIME = struct.pack("<d", 0.0)


@pytest.mark.parametrize(
    "answer",
    [
        struct.pack("<d", math.nan) + b"\x00\x00",
        struct.pack("<d", math.inf) + b"\x00\x00",
        TIME + b"\xff" * 60,
        TIME + b"\x09localhost\x00",
        TIME + b"\x04\xff\xff\xff\xff\x00",
        TIME + b"\x00\x05",
    ],
)
@in_trio
async def test_hostile_answers_are_refused(answer):
    async with serving_host() as host, serving_host() as liar:
        await connect(host, liar)

        async def lie(stream):
            await stream.write(answer)

        liar.services.offer(DIAL_BACK_PROTOCOL, lie)
        with pytest.raises(MalformedFrame):
            await DialBack(host).ask(liar.peer_id, [4001])


@in_trio
async def test_silent_neighbours_and_those_without_the_service_are_named():
    async with serving_host() as host, serving_host() as neighbour:
        await connect(host, neighbour)
        asking = DialBack(host)
        with pytest.raises(ExchangeFailed):
            await asking.ask(neighbour.peer_id, [4001])
        neighbour.services.offer(DIAL_BACK_PROTOCOL, lambda _: trio.sleep_forever())
        with pytest.raises(ExchangeFailed, match="in time"):
            await asking.ask(neighbour.peer_id, [4001], seconds=0.1)
