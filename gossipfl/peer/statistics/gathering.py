"""Gossip of summaries: members tell each other those that they lack until everybody has all."""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import trio

from gossipfl.errors import ExchangeFailed, MalformedStatement, MessageRefused
from gossipfl.network import Host, Identity, ServiceLimits, ServiceStream, limited_logger
from gossipfl.network.failures import StreamFailure
from gossipfl.peer.statistics.collection import Record, SetOfStatements, read_places
from gossipfl.settings.addresses import public_key_of
from gossipfl.statistics import MOST_MEMBERS
from gossipfl.wire import PeerDescriptor
from gossipfl.wire.summaries import MOST_SUMMARY_BYTES, PLACE_BYTES, Place

__all__ = ["STATISTICS_PROTOCOL", "Gathering"]

_log = limited_logger(__name__)

STATISTICS_PROTOCOL: Final = "/gossipfl/statistics/1.0.0"
_TICK_SECONDS: Final = 0.7
_EXCHANGE_SECONDS: Final = 20.0
_FAREWELL_SECONDS: Final = 2.0
_MOST_CERTIFICATE_BYTES: Final = 16 * 1024
_TOLD_BYTES: Final = 2 * 2**20
_LIMITS: Final = ServiceLimits(
    streams_per_peer=2,
    streams_per_second=4.0,
    bytes=2 * (_TOLD_BYTES + MOST_SUMMARY_BYTES + _MOST_CERTIFICATE_BYTES + MOST_MEMBERS * PLACE_BYTES),
    bytes_per_second=2.0**20,
    seconds=30.0,
)
_COUNT: Final = struct.Struct("<H")
_DIGEST_BYTES: Final = 32


@dataclass(kw_only=True, eq=False)
class Gathering:
    """One member's part in gathering all members' summaries.

    Parameters
    ----------
    statement : callable
        Returns this peer's own statement, encoded and signed, with a sequence.
    certificate : callable
        Returns this peer's certificate; empty if there is none.
    bootstrap : sequence of PeerDescriptor
        Peers to ask besides those that are connected.
    is_complete : callable
        Returns whether these members, by peer id, are all.
    linger : float
        Seconds to stay for the others once all summaries are here.
    report : callable
        Called with a line of text for people.
    clock : callable, optional
        Returns seconds since 1970.
    """

    host: Host
    identity: Identity
    summaries: SetOfStatements[Any]
    statement: Callable[[int], bytes]
    certificate: Callable[[], bytes]
    bootstrap: Sequence[PeerDescriptor]
    is_complete: Callable[[Collection[str]], bool]
    linger: float
    report: Callable[[str], None] = lambda _: None
    clock: Callable[[], float] = time.time
    _told: dict[str, frozenset[Place]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.identity.peer_id)  # whom to ask need not be unpredictable
        self._key = public_key_of(self.identity.peer_id)
        self._other_schemas: set[str] = set()
        self._tell(int(1000 * self.clock()))
        self.host.services.offer(STATISTICS_PROTOCOL, self._answer, _LIMITS)

    async def run(self) -> None:
        """Exchange summaries until all are here, and the others have them or `linger` seconds have passed."""
        complete_since: float | None = None
        async with trio.open_nursery() as nursery:
            while True:
                now = trio.current_time()
                if not self.is_complete(self.summaries.members):
                    complete_since = None
                elif complete_since is None:
                    complete_since = now
                elif self._is_known_by_all() or now > complete_since + self.linger:
                    break
                others = self._addresses()
                if others:
                    peer_id = self._random.choice(sorted(others))
                    nursery.start_soon(self._exchange, peer_id, others[peer_id])
                await trio.sleep(_TICK_SECONDS * self._random.uniform(0.5, 1.5))
            if self._told:
                await trio.sleep(_FAREWELL_SECONDS)  # an answer may still be on its way
            nursery.cancel_scope.cancel()

    def _tell(self, sequence: int) -> None:
        self.summaries.add(Record(self.statement(sequence), self.certificate()))
        self._place = self.summaries.place_of(self._key)

    def _addresses(self) -> dict[str, tuple[str, ...]]:
        """Return the peers to ask, with addresses for those that are not connected."""
        others: dict[str, tuple[str, ...]] = dict.fromkeys(self.host.connected(), ())
        for each in self.bootstrap:
            if each.peer_id != self.identity.peer_id:
                others[each.peer_id] = tuple(address.partition("/p2p/")[0] for address in each.addresses)
        return others

    def _is_known_by_all(self) -> bool:
        """Return whether every peer that was heard of has said that it knows all that is known here."""
        places = frozenset(self.summaries.places)
        heard = [self._told.get(peer_id) for peer_id in {*self._told, *self.host.connected()}]
        return all(told is not None and told >= places for told in heard)

    async def _exchange(self, peer_id: str, addresses: tuple[str, ...]) -> None:
        try:
            with trio.move_on_after(_EXCHANGE_SECONDS):
                stream = await self.host.services.open(
                    peer_id, [STATISTICS_PROTOCOL], addresses=addresses, limits=_LIMITS
                )
                try:
                    await stream.write(self._hello())
                    theirs = await self._read_hello(stream, peer_id)
                    if theirs is not None:
                        await self._write(stream, theirs)
                        await self._read(stream)
                        stream.close()
                finally:
                    stream.reset()
        except (ExchangeFailed, MessageRefused, StreamFailure) as error:
            _log.debug("no summaries were exchanged with %s: %s", peer_id, error)

    async def _answer(self, stream: ServiceStream) -> None:
        peer_id = stream.connection.peer_id
        theirs = await self._read_hello(stream, peer_id)
        await stream.write(self._hello())
        if theirs is not None:
            await self._read(stream)
            await self._write(stream, theirs)

    def _hello(self) -> bytes:
        places = self.summaries.places
        listed = b"".join(place.to_bytes() for place in places)
        return self.summaries.digest + _COUNT.pack(len(places)) + listed

    async def _read_hello(self, stream: ServiceStream, peer_id: str) -> list[Place] | None:
        """Return what another peer knows; None if it has another schema."""
        digest = await stream.read_exactly(_DIGEST_BYTES)
        count = await _read_count(stream)
        places = read_places(await stream.read_exactly(count * PLACE_BYTES) if count else b"", PLACE_BYTES)
        if digest != self.summaries.digest:
            if peer_id not in self._other_schemas and len(self._other_schemas) < MOST_MEMBERS:
                self._other_schemas.add(peer_id)
                here = self.summaries.digest
                self.report(
                    f"{peer_id} has another {self.summaries.common_ground}, with digest {digest.hex()[:16]}, and "
                    f"not {here.hex()[:16]}: all members need the same"
                )
            return None
        self._told[peer_id] = frozenset(places)
        return places

    async def _write(self, stream: ServiceStream, theirs: Sequence[Place]) -> None:
        """Send the records that another peer lacks, or as many as one stream may hold."""
        records, size = [], 0
        for record in self.summaries.beyond(theirs):
            size += len(record.data) + len(record.certificate)
            if size > _TOLD_BYTES:
                break
            records.append(record)
        await stream.write(_COUNT.pack(len(records)))
        for record in records:
            for part in (record.data, record.certificate):
                await stream.write(_COUNT.pack(len(part)) + part)

    async def _read(self, stream: ServiceStream) -> None:
        for _ in range(await _read_count(stream)):
            (size,) = _COUNT.unpack(await stream.read_exactly(_COUNT.size))
            data = await stream.read_exactly(size)
            (size,) = _COUNT.unpack(await stream.read_exactly(_COUNT.size))
            if size > _MOST_CERTIFICATE_BYTES:
                raise MalformedStatement("the certificate of a summary is too long", got=size)
            certificate = await stream.read_exactly(size) if size else b""
            if self.summaries.add(Record(data, certificate)):
                self._note()

    def _note(self) -> None:
        place = self.summaries.place_of(self._key)
        if place is not None and place != self._place:  # one of an earlier start, when the clock was ahead
            self._tell(place.sequence + 1)
        elif self._place is not None and self.summaries.is_outdated:
            self._tell(self._place.sequence + 1)
        self.report(self.summaries.progress)


async def _read_count(stream: ServiceStream) -> int:
    count: int
    (count,) = _COUNT.unpack(await stream.read_exactly(_COUNT.size))
    if count > MOST_MEMBERS:
        raise MalformedStatement("too many summaries", expected=f"at most {MOST_MEMBERS}", got=count)
    return count
