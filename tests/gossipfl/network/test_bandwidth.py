"""Measuring links: what a link carries, when nothing is measured, and how little can be had of it."""

import struct
from contextlib import asynccontextmanager

import pytest
import trio

from gossipfl.errors import ExchangeFailed, MalformedFrame, PeerBusy
from gossipfl.network import bandwidth
from gossipfl.network.bandwidth import (
    BANDWIDTH_PROTOCOL,
    CHUNK_BYTES,
    MOST_BYTES,
    Bandwidth,
    BandwidthAllowance,
)
from gossipfl.network.failures import StreamFailure

from .helpers import in_trio, serving_host, until

DOWNLOAD, UPLOAD = 0, 1
CAP = 8.0  # Mbit/s, so a million bytes a second


@asynccontextmanager
async def neighbours():
    """Two connected hosts that know each other."""
    async with serving_host() as host, serving_host() as neighbour:
        host.standing.prove(neighbour.peer_id)
        neighbour.standing.prove(host.peer_id)
        await host.services.connection(neighbour.peer_id, neighbour.addresses)
        yield host, neighbour


async def granted(host, neighbour, direction=DOWNLOAD, size=MOST_BYTES):
    """What is granted of a measurement, which is then given up; asked again where that was too soon."""
    while True:
        stream = await host.services.open(neighbour.peer_id, [BANDWIDTH_PROTOCOL])
        try:
            await stream.write(struct.pack("<BI", direction, size))
            answer = await stream.read_exactly(4)
        except StreamFailure:  # more than one a second
            await trio.sleep(0.1)
            continue
        finally:
            stream.reset()
        return int.from_bytes(answer, "little")


async def is_free(service):
    await until(lambda: not service._is_measuring)


@pytest.mark.parametrize("capped", ["upload", "download"])
@in_trio
async def test_the_slower_direction_of_a_link_is_measured(capped):
    async with neighbours() as (host, neighbour):
        service = Bandwidth(neighbour)
        getattr(host.link, capped).limit(CAP)
        rates = dict(
            zip(("upload", "download"), await Bandwidth(host).measure(neighbour.peer_id), strict=True)
        )
        slow = rates.pop(capped)
        [fast] = rates.values()
        assert 0.5e6 < slow.bytes_per_second < 1.3e6
        assert not slow.is_least
        assert fast.bytes_per_second > 2 * slow.bytes_per_second
        assert (
            sum(map(service._allowance.take, ["a", "b", "c", "d", "e", "f", "g"])) == 6
        )  # two of eight are taken


@in_trio
async def test_a_link_that_moves_little_in_time_is_measured_by_that(monkeypatch):
    monkeypatch.setattr(bandwidth, "_SECONDS", 0.5)
    async with neighbours() as (host, neighbour):
        Bandwidth(neighbour)
        neighbour.link.upload.limit(1.0)
        monkeypatch.setattr(Bandwidth, "_allowed", lambda self, size, lane: size)
        _, download = await Bandwidth(host).measure(neighbour.peer_id)
        assert 0.05e6 < download.bytes_per_second < 0.2e6


@in_trio
async def test_nothing_is_measured_for_strangers_nor_where_it_may_not_be():
    async with neighbours() as (host, neighbour):
        allowed = True
        service = Bandwidth(neighbour, may=lambda: allowed)
        neighbour.standing.lose(host.peer_id)
        assert await granted(host, neighbour) == 0
        neighbour.standing.prove(host.peer_id)
        allowed = False
        assert await granted(host, neighbour) == 0
        allowed = True
        with neighbour.link.download.expecting(MOST_BYTES, is_valued=True) as row:
            row.begin()
            assert await granted(host, neighbour) == 0
        neighbour.link.upload.limit(CAP)
        assert await granted(host, neighbour) == 1_000_000  # a second of it
        await is_free(service)
        neighbour.link.download.limit(0.2)
        assert await granted(host, neighbour, UPLOAD) == 0
        assert await granted(host, neighbour, DOWNLOAD, CHUNK_BYTES) == 0
        assert sum(service._allowance.take("a") for _ in range(9)) == 2  # what was declined cost nothing


@in_trio
async def test_one_measures_at_a_time_and_whoever_never_ends_is_left(monkeypatch):
    monkeypatch.setattr(bandwidth, "_HELD_SECONDS", 0.5)
    async with neighbours() as (host, neighbour), serving_host() as other:
        service = Bandwidth(neighbour)
        neighbour.standing.prove(other.peer_id)
        await other.services.connection(neighbour.peer_id, neighbour.addresses)
        for direction in (DOWNLOAD, UPLOAD):  # which it never reads, and never sends
            stream = await host.services.open(neighbour.peer_id, [BANDWIDTH_PROTOCOL])
            await stream.write(struct.pack("<BI", direction, MOST_BYTES))
            assert await stream.read_exactly(4) == struct.pack("<I", MOST_BYTES)
            assert await granted(other, neighbour) == 0
            await is_free(service)
            stream.reset()
        assert await granted(other, neighbour) == MOST_BYTES


@in_trio
async def test_each_peer_measures_twice_a_minute_and_all_eight_times():
    async with neighbours() as (host, neighbour):
        service = Bandwidth(neighbour)
        given = []
        for _ in range(3):
            given.append(await granted(host, neighbour))
            await is_free(service)
        assert given == [MOST_BYTES, MOST_BYTES, 0]
        with pytest.raises(PeerBusy, match="twice within a minute"):
            await Bandwidth(host).measure(neighbour.peer_id)


def test_measurements_are_allowed_again_after_a_minute(monkeypatch):
    clock = iter(())
    monkeypatch.setattr(bandwidth.trio, "current_time", lambda: next(clock))

    def taken(times, peers):
        nonlocal clock
        clock, allowance = iter([at for at in times for _ in peers]), BandwidthAllowance()
        return [at for at in times for peer in peers if allowance.take(peer)]

    assert taken(range(0, 180, 5), "abcdefgh") == [0] * 8 + [60] * 8 + [120] * 8
    assert taken(range(0, 130, 10), "a") == [0, 10, 60, 70, 120]
    assert taken(range(0, 61, 10), "abc") == [0, 0, 0, 10, 10, 10, 60, 60, 60]


@pytest.mark.parametrize(
    "asked",
    [struct.pack("<BI", 2, 1), struct.pack("<BI", 0, 0), struct.pack("<BI", 1, MOST_BYTES + 1), b"\xff" * 5],
)
@in_trio
async def test_what_is_no_measurement_is_refused(asked):
    async with neighbours() as (host, neighbour):
        Bandwidth(neighbour)
        stream = await host.services.open(neighbour.peer_id, [BANDWIDTH_PROTOCOL])
        await stream.write(asked)
        with pytest.raises(StreamFailure):
            await stream.read_exactly(1)
        assert neighbour.counters.refused["malformed_frame"] == 1


@in_trio
async def test_more_bytes_than_granted_are_not_read():
    async with neighbours() as (host, neighbour):
        service = Bandwidth(neighbour)
        stream = await host.services.open(neighbour.peer_id, [BANDWIDTH_PROTOCOL])
        await stream.write(struct.pack("<BI", UPLOAD, CHUNK_BYTES * 2))
        assert await stream.read_exactly(4) == struct.pack("<I", CHUNK_BYTES * 2)
        await stream.write(bytes(CHUNK_BYTES * 3))
        assert await stream.read_exactly(2) == b"\x00\x00"
        with pytest.raises(StreamFailure):
            await stream.read_exactly(1)
        await is_free(service)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (struct.pack("<I", MOST_BYTES + 1), MalformedFrame),
        (b"\xff" * 4, MalformedFrame),
        (struct.pack("<I", 0), PeerBusy),
        (struct.pack("<I", MOST_BYTES) + b"\x01", ExchangeFailed),  # and then the end
        (b"\x00", ExchangeFailed),
        (b"", ExchangeFailed),
    ],
)
@in_trio
async def test_hostile_answers_are_refused(answer, error):
    async with neighbours() as (host, liar):

        async def lie(stream):
            await stream.read_exactly(5)
            await stream.write(answer)

        liar.services.offer(BANDWIDTH_PROTOCOL, lie)
        with pytest.raises(error):
            await Bandwidth(host).measure(liar.peer_id)


@in_trio
async def test_arrivals_that_are_told_wrongly_are_refused():
    async with neighbours() as (host, liar):

        async def lie(stream):
            direction, size = struct.unpack("<BI", await stream.read_exactly(5))
            await stream.write(struct.pack("<I", size))
            await stream.write(b"\x01" if direction == UPLOAD else bytes(size))
            await trio.sleep_forever()

        liar.services.offer(BANDWIDTH_PROTOCOL, lie, bandwidth._LIMITS)
        with pytest.raises(MalformedFrame, match="did not say"):
            await Bandwidth(host).measure(liar.peer_id)


@in_trio
async def test_silent_neighbours_and_those_without_the_service_are_named(monkeypatch):
    monkeypatch.setattr(bandwidth, "_SECONDS", 0.1)
    async with neighbours() as (host, neighbour):
        asking = Bandwidth(host)
        with pytest.raises(ExchangeFailed):
            await asking.measure(neighbour.peer_id)

        async def stall(stream):
            await stream.write(struct.pack("<I", MOST_BYTES))
            await trio.sleep_forever()

        neighbour.services.offer(BANDWIDTH_PROTOCOL, stall, bandwidth._LIMITS)
        with pytest.raises(ExchangeFailed, match="less than 16384 bytes"):
            await asking.measure(neighbour.peer_id)
