"""Bandwidth to a neighbour: a service that moves a bounded number of bytes, where no row has measured a link."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import trio

from gossipfl.errors import ExchangeFailed, ExchangeTimedOut, MalformedFrame, PeerBusy
from gossipfl.network.failures import StreamFailure
from gossipfl.network.host import Host
from gossipfl.network.lane import Lane
from gossipfl.network.service_streams import ServiceLimits, ServiceStream
from gossipfl.nurseries import background_nursery
from gossipfl.recent import RecentMap

__all__ = ["BANDWIDTH_PROTOCOL", "CHUNK_BYTES", "MOST_BYTES", "Bandwidth", "BandwidthAllowance", "Rate"]

BANDWIDTH_PROTOCOL: Final = "/gossipfl/bandwidth/1.0.0"
MOST_BYTES: Final = 1024 * 1024
CHUNK_BYTES: Final = 16 * 1024
#: Nothing can be timed by fewer.
_FEWEST_BYTES: Final = 2 * CHUNK_BYTES
#: A slow link moves part of the bytes in this time, which suffices.
_SECONDS: Final = 3.0
#: After which the other side's place is free again, whatever the opener does.
_HELD_SECONDS: Final = 5.0
#: Below this, threads that compute and the kernel's buffers decide how long it took.
_LEAST_SECONDS: Final = 5e-3
_MINUTE: Final = 60.0
_MOST_A_MINUTE: Final = 8
_MOST_A_MINUTE_PER_PEER: Final = 2  # once in each direction
_MOST_PEERS: Final = 4096
_ASK: Final = struct.Struct("<BI")
_SIZE: Final = struct.Struct("<I")
_ARRIVED: Final = b"\x00"
_LIMITS: Final = ServiceLimits(
    streams=4,
    streams_per_peer=2,
    streams_per_second=1.0,
    bytes=MOST_BYTES + 2 * CHUNK_BYTES,
    bytes_per_second=float(MOST_BYTES),
    seconds=10.0,
)


class _Direction(IntEnum):
    """Of the bytes, as their opener sees it."""

    DOWNLOAD = 0
    UPLOAD = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What a link carried in one direction.

    Parameters
    ----------
    bytes_per_second : float
    is_least : bool
        Whether the link may carry any more: it was too fast to be timed.
    """

    bytes_per_second: float
    is_least: bool


class BandwidthAllowance:
    """A limit on measurements that others ask for: two a minute for each peer, and eight in all."""

    def __init__(self) -> None:
        self._all: deque[float] = deque(maxlen=_MOST_A_MINUTE)
        self._of_peers: RecentMap[str, deque[float]] = RecentMap(_MOST_PEERS)

    def take(self, peer_id: str) -> bool:
        """Take a measurement, if there may be one now."""
        now = trio.current_time()
        own = self._of_peers.get(peer_id)
        if own is None:
            own = deque(maxlen=_MOST_A_MINUTE_PER_PEER)
        self._of_peers[peer_id] = own
        if any(len(each) == each.maxlen and now - each[0] < _MINUTE for each in (own, self._all)):
            return False
        own.append(now)
        self._all.append(now)
        return True


class Bandwidth:
    """The service of one host, and its questions to others.

    It is for peers with standing alone: those that the settings name, and those with which an exchange has
    succeeded. One measurement is made at a time, none while large rows are under way, and none of more than a
    second of a cap.

    Parameters
    ----------
    may : callable, optional
        Whether the link may be used now, for others' measurements as for one's own.
    """

    def __init__(self, host: Host, *, may: Callable[[], bool] = lambda: True) -> None:
        self._host = host
        self._may = may
        self._allowance = BandwidthAllowance()
        self._is_measuring = False
        host.services.offer(BANDWIDTH_PROTOCOL, self._answer, _LIMITS)

    async def measure(self, peer_id: str) -> tuple[Rate, Rate]:
        """Measure the link to a connected peer: upload, then download, for three seconds each at most.

        A neighbour can make its link look slower or faster than it is.

        Raises
        ------
        PeerBusy
            This side or the other does not measure now.
        ExchangeFailed
            The peer does not offer this service, or too little moved in time.
        MessageRefused
            Its answer is invalid.
        """
        download = await self._timed(peer_id, _Direction.DOWNLOAD)
        return await self._timed(peer_id, _Direction.UPLOAD), download

    async def _timed(self, peer_id: str, direction: _Direction) -> Rate:
        lane = self._host.link.download if direction is _Direction.DOWNLOAD else self._host.link.upload
        wanted = self._allowed(MOST_BYTES, lane)
        if not wanted:
            raise PeerBusy("this peer's policy, pause, cap or rows leave its link no room for a measurement")
        arrivals = [(0, trio.current_time())]
        with trio.move_on_after(_LIMITS.seconds) as deadline:
            stream = await self._host.services.open(peer_id, [BANDWIDTH_PROTOCOL], limits=_LIMITS)
            try:
                await stream.write(_ASK.pack(direction, wanted))
                (granted,) = _SIZE.unpack(await stream.read_exactly(_SIZE.size))
                if granted > wanted:
                    raise MalformedFrame(
                        "a neighbour would move more bytes than asked for", expected=wanted, got=granted
                    )
                if not granted:
                    raise PeerBusy("the neighbour measures no link now, or was asked twice within a minute")
                arrivals = [(0, trio.current_time())]
                with trio.move_on_after(_SECONDS):
                    if direction is _Direction.DOWNLOAD:
                        await _receive(stream, granted, arrivals)
                    else:
                        await _send(stream, granted, arrivals)
            except StreamFailure as failure:
                raise ExchangeFailed(f"the link to {peer_id} was not measured", got=failure) from failure
            finally:
                stream.reset()
        if deadline.cancelled_caught:
            raise ExchangeTimedOut(f"{peer_id} did not answer in time whether the link may be measured")
        return _rate(arrivals)

    async def _answer(self, stream: ServiceStream) -> None:
        kind, size = _ASK.unpack(await stream.read_exactly(_ASK.size))
        if kind > _Direction.UPLOAD or not 0 < size <= MOST_BYTES:
            raise MalformedFrame(
                "no such measurement", expected=f"direction 0 or 1, 1 to {MOST_BYTES} bytes", got=(kind, size)
            )
        is_upload = kind == _Direction.UPLOAD
        lane = self._host.link.download if is_upload else self._host.link.upload
        granted = self._granted(stream.connection.peer_id, size, lane)
        if not granted:
            await stream.write(_SIZE.pack(0))
            return
        self._is_measuring = True
        try:
            with trio.move_on_after(_HELD_SECONDS):
                await stream.write(_SIZE.pack(granted))
                if is_upload:
                    for chunk in _chunks(granted):
                        await stream.read_exactly(chunk)
                        await stream.write(_ARRIVED)
                else:
                    await stream.write(bytes(granted))
        finally:
            self._is_measuring = False

    def _granted(self, peer_id: str, size: int, lane: Lane) -> int:
        """Return how many bytes to move for a peer now."""
        if self._is_measuring or not self._host.standing.is_valued(peer_id):
            return 0
        granted = self._allowed(size, lane)
        return granted if granted and self._allowance.take(peer_id) else 0

    def _allowed(self, size: int, lane: Lane) -> int:
        """Return how many of so many bytes may move now: a second's worth of a cap at most, or none."""
        link = self._host.link
        if not self._may() or link.upload.has_large_rows or link.download.has_large_rows:
            return 0
        if lane.cap is not None:
            size = min(size, int(lane.cap.bytes_per_second))
        return size if size >= _FEWEST_BYTES else 0


def _chunks(size: int) -> list[int]:
    return [min(CHUNK_BYTES, size - start) for start in range(0, size, CHUNK_BYTES)]


async def _receive(stream: ServiceStream, size: int, arrivals: list[tuple[int, float]]) -> None:
    for chunk in _chunks(size):
        await stream.read_exactly(chunk)
        arrivals.append((arrivals[-1][0] + chunk, trio.current_time()))


async def _send(stream: ServiceStream, size: int, arrivals: list[tuple[int, float]]) -> None:
    async def write() -> None:
        with suppress(StreamFailure):  # which whoever reads hears of, too
            await stream.write(bytes(size))

    async with background_nursery() as nursery:
        nursery.start_soon(write)
        for chunk in _chunks(size):
            if await stream.read_exactly(1) != _ARRIVED:
                raise MalformedFrame("a neighbour did not say that bytes arrived")
            arrivals.append((arrivals[-1][0] + chunk, trio.current_time()))


def _rate(arrivals: list[tuple[int, float]]) -> Rate:
    """Return the rate of the second half of what arrived; a connection is slow when it begins.

    Raises
    ------
    ExchangeTimedOut
        Nothing arrived.
    """
    if len(arrivals) == 1:
        raise ExchangeTimedOut(f"less than {CHUNK_BYTES} bytes moved within {_SECONDS:g} s")
    (before, since), (size, until) = arrivals[(len(arrivals) - 1) // 2], arrivals[-1]
    seconds = until - since
    return Rate(
        bytes_per_second=(size - before) / max(seconds, _LEAST_SECONDS), is_least=seconds < _LEAST_SECONDS
    )
