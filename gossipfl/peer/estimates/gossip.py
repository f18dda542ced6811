"""Gossip of reports: twelve times a period a member tells another which reports it knows, and both learn more."""

from __future__ import annotations

import logging
import random
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import trio
from torch import Tensor

from gossipfl.codecs.draws import message_key
from gossipfl.errors import ExchangeFailed, MalformedStatement, MessageRefused
from gossipfl.network import Host, Identity, ServiceLimits, ServiceStream, limited_logger
from gossipfl.network.failures import StreamFailure
from gossipfl.peer.driver import Learning
from gossipfl.peer.estimates.sample import MOST_REPORTS, Sample
from gossipfl.peer.estimates.summary import Estimates, estimates_from
from gossipfl.peer.threads import run_abandonable
from gossipfl.settings.addresses import peer_id_of, public_key_of
from gossipfl.sketches import sketches
from gossipfl.tasks import Task
from gossipfl.wire.reports import REPORT_BYTES, SKETCH_WIDTH, Report, write_report

__all__ = ["ESTIMATES_PROTOCOL", "ReportGossip"]

logger = logging.getLogger(__name__)
_log = limited_logger(__name__)

ESTIMATES_PROTOCOL: Final = "/gossipfl/estimates/1.0.0"
_TICKS: Final = 12  # of an epoch
_EXCHANGE_SECONDS: Final = 5.0
_LIMITS: Final = ServiceLimits(
    streams_per_peer=2,
    streams_per_second=2.0,
    bytes=2 * MOST_REPORTS * (REPORT_BYTES + 16) + 64,
    bytes_per_second=32 * 1024.0,
    seconds=10.0,
)
_EPOCH: Final = struct.Struct("<Q")


@dataclass(kw_only=True, eq=False)
class ReportGossip:
    """One member's part in the estimates of its network.

    Parameters
    ----------
    learner : Learning
        Owner of the model.
    metrics : callable
        Returns the metrics of the latest evaluation; empty before the first, and where nobody may know them: of
        words that one owner wrote, whoever sends models and hears how well they do can learn each word.
    period : float
        Seconds of an epoch, for which an estimate is made.
    clock : callable, optional
        Returns seconds since 1970.
    """

    host: Host
    identity: Identity
    task: Task
    learner: Learning
    metrics: Callable[[], Mapping[str, float]]
    period: float
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self._metric_name = next(iter(self.task.metrics), "loss")
        self._samples: dict[int, Sample] = {}
        self._random = random.Random(self.identity.peer_id)  # whom to ask need not be unpredictable
        self._newest: Estimates | None = None
        self.host.services.offer(ESTIMATES_PROTOCOL, self._answer, _LIMITS)

    def newest(self) -> dict[str, Any] | None:
        """Return the newest estimates as plain values; None before the first epoch is over."""
        newest = self._newest
        is_recent = newest is not None and newest.epoch >= self._epoch() - 2
        return newest.to_dict() if newest is not None and is_recent else None

    async def run(self) -> None:
        """Take part until cancelled."""
        own_epoch = None
        async with trio.open_nursery() as nursery:
            while True:
                epoch = self._epoch()
                if epoch != own_epoch:
                    self._conclude(epoch)
                    await self._report(epoch)
                    own_epoch = epoch
                others = sorted(self.host.connected())
                if others:
                    nursery.start_soon(self._exchange, self._random.choice(others), epoch)
                await trio.sleep(self.period / _TICKS * self._random.uniform(0.5, 1.5))

    def _epoch(self) -> int:
        return max(0, int(self.clock() / self.period))

    def _sample(self, epoch: int) -> Sample | None:
        """Return the sample of an epoch, and forget those of earlier ones; None if the epoch is not about now."""
        now = self._epoch()
        if abs(epoch - now) > 1:
            return None
        self._samples = {each: kept for each, kept in self._samples.items() if abs(each - now) <= 1}
        if epoch not in self._samples:
            self._samples[epoch] = Sample(self.task.fingerprint, epoch, is_stranger=self._is_stranger)
        return self._samples[epoch]

    def _is_stranger(self, key: bytes) -> bool:
        peer_id = peer_id_of(key)
        return peer_id != self.identity.peer_id and self.host.members.is_stranger(peer_id)

    def _conclude(self, epoch: int) -> None:
        """Make estimates of the epoch that has just ended."""
        sample = self._samples.get(epoch - 1)
        if sample is not None and sample.known:
            self._newest = estimates_from(
                sample.reports, sample.known, epoch=sample.epoch, metric=self._metric_name
            )

    async def _report(self, epoch: int) -> None:
        """Add this peer's own report to the sample."""
        fingerprint = self.task.fingerprint
        key = message_key(fingerprint.hex(), incarnation=epoch, sequence=0)

        def made(rows: Tensor) -> list[float]:
            size = self.task.layout.shared_size
            return [float(each) for each in sketches(rows, size, key=key, width=SKETCH_WIDTH)[0]]

        async with self.learner.at_rest():
            sketch = await run_abandonable(made, self.learner.state.nodes.rows)
        report = Report(
            key=public_key_of(self.identity.peer_id),
            epoch=epoch,
            metric=self.metrics().get(self._metric_name, float("nan")),
            sketch=tuple(sketch),
        )
        sample = self._sample(epoch)
        try:
            if sample is not None:
                sample.add(write_report(report, task=fingerprint, sign=self.identity.sign))
        except MalformedStatement as error:  # a model beyond what a report may hold
            logger.debug("no report in epoch %d: %s", epoch, error)

    async def _exchange(self, peer_id: str, epoch: int) -> None:
        sample = self._sample(epoch)
        if sample is None:
            return
        try:
            with trio.move_on_after(_EXCHANGE_SECONDS):
                stream = await self.host.services.open(peer_id, [ESTIMATES_PROTOCOL], limits=_LIMITS)
                try:
                    await stream.write(_EPOCH.pack(epoch) + _listed(sample.known))
                    sample.add(await _read(stream, REPORT_BYTES))
                    wanted = await _read_places(stream)
                    await _write(stream, sample.encoded(wanted))
                    stream.close()
                finally:
                    stream.reset()
        except (
            ExchangeFailed,
            MessageRefused,
            StreamFailure,
        ) as error:  # or of an older version
            _log.debug("no reports were exchanged with %s: %s", peer_id, error)

    async def _answer(self, stream: ServiceStream) -> None:
        (epoch,) = _EPOCH.unpack(await stream.read_exactly(_EPOCH.size))
        sample, known = self._sample(epoch), await _read_places(stream)
        if sample is None:  # no offence: a clock is wrong, here or there
            return
        lacking = sorted(set(sample.known) - set(known))
        await _write(stream, sample.encoded(lacking))
        await stream.write(_listed(sample.missing(known)))
        sample.add(await _read(stream, REPORT_BYTES))


def _listed(places: tuple[int, ...] | list[int]) -> bytes:
    return bytes([len(places)]) + b"".join(_EPOCH.pack(place) for place in places)


async def _write(stream: ServiceStream, reports: bytes) -> None:
    await stream.write(bytes([len(reports) // REPORT_BYTES]) + reports)


async def _read(stream: ServiceStream, size: int) -> bytes:
    """Read a number of pieces of one size, and the pieces.

    Raises
    ------
    MalformedStatement
        There are too many.
    """
    count = (await stream.read_exactly(1))[0]
    if count > MOST_REPORTS:
        raise MalformedStatement("too many reports", expected=f"at most {MOST_REPORTS}", got=count)
    return await stream.read_exactly(count * size) if count else b""


async def _read_places(stream: ServiceStream) -> list[int]:
    data = await _read(stream, _EPOCH.size)
    return [place for (place,) in _EPOCH.iter_unpack(data)]
