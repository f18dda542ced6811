"""Sets of members' summaries that end alike everywhere, without I/O.

Of each member the newest summary is kept, and of all members those with the least keys, if there are too many.
Unions of such sets are such sets, so statements may be told in any order, repeated or lost.
"""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import ClassVar, Generic, Protocol, TypeVar

from gossipfl.errors import MalformedStatement, NotAMember
from gossipfl.settings.addresses import peer_id_of
from gossipfl.statistics import MOST_MEMBERS, CommonStatistics, TableSchema, merged
from gossipfl.wire.summaries import Place, SummaryStatement, place_of, read_summary

__all__ = ["Record", "SetOfStatements", "Summaries", "TableStatements"]


@dataclass(frozen=True, slots=True)
class Record:
    """A statement as its member signed it, with the certificate that makes it a member, or none."""

    data: bytes
    certificate: bytes


class Statement(Protocol):
    """A member's signed statement."""

    @property
    def key(self) -> bytes:
        """Its public key."""
        ...


T = TypeVar("T", bound=Statement)


class SetOfStatements(ABC, Generic[T]):
    """The newest statement of each member, as far as they are known here.

    Parameters
    ----------
    network : bytes, length 32
        Id of the network.
    admit : callable
        Called with a public key and a certificate; raises `NotAMember` if summaries by this key do not count.

    Attributes
    ----------
    common_ground : str
        Name of what all members must have in common, whose digest they compare.
    """

    common_ground: ClassVar[str] = "schema"

    def __init__(self, network: bytes, *, admit: Callable[[bytes, bytes], object]) -> None:
        self.network = network
        self._admit = admit
        self._kept: dict[bytes, tuple[Place, T, Record]] = {}

    @property
    @abstractmethod
    def digest(self) -> bytes:
        """Digest that others' sets must have."""

    @property
    def is_outdated(self) -> bool:
        """Whether this peer must tell another statement than its last."""
        return False

    @property
    @abstractmethod
    def members(self) -> dict[str, int]:
        """Rows of each member that has told its sums, by peer id."""

    @property
    def progress(self) -> str:
        """How far it has come, for people."""
        return f"{len(self.members)} members, {sum(self.members.values())} rows"

    @abstractmethod
    def _read(self, record: Record) -> T:
        """Decode and verify a statement, or raise `MalformedStatement`."""

    @property
    def places(self) -> tuple[Place, ...]:
        """Places of all statements, by key."""
        return tuple(sorted(place for place, _, _ in self._kept.values()))

    def place_of(self, key: bytes) -> Place | None:
        """Return the place of a member's statement, if there is one."""
        kept = self._kept.get(key)
        return None if kept is None else kept[0]

    def beyond(self, theirs: Collection[Place]) -> list[Record]:
        """Return the records that somebody lacks, or has in an older version."""
        newest = {place.key: place for place in theirs}
        return [
            record
            for place, _, record in self._kept.values()
            if place.key not in newest or newest[place.key] < place
        ]

    def add(self, record: Record) -> bool:
        """Keep a record if it belongs here; return whether it does, and was not known.

        Raises
        ------
        MalformedStatement
            It is no statement of this digest and network, or not signed by its member.
        """
        place = place_of(record.data)
        known = self._kept.get(place.key)
        if known is not None and place <= known[0]:
            return False
        if known is None and len(self._kept) >= MOST_MEMBERS and place.key > max(self._kept):
            return False
        try:
            self._admit(place.key, record.certificate)
        except NotAMember:
            return False
        statement = self._read(record)
        self._kept[place.key] = (place, statement, record)
        if len(self._kept) > MOST_MEMBERS:
            del self._kept[max(self._kept)]
        return True

    def in_text(self) -> tuple[str, ...]:
        """Return all statements, in base 64."""
        kept = sorted(self._kept.items())
        return tuple(base64.b64encode(record.data).decode("ascii") for _, (_, _, record) in kept)

    def peers(self, keys: Iterable[bytes]) -> tuple[str, ...]:
        """Return the peer ids of members."""
        return tuple(map(peer_id_of, sorted(keys)))

    def _statement(self, key: bytes) -> T | None:
        kept = self._kept.get(key)
        return None if kept is None else kept[1]


class TableStatements(SetOfStatements[T]):
    """Statements about tables of one schema.

    Parameters
    ----------
    schema : TableSchema
    network, admit
        As for `SetOfStatements`.
    """

    def __init__(
        self, schema: TableSchema, network: bytes, *, admit: Callable[[bytes, bytes], object]
    ) -> None:
        super().__init__(network, admit=admit)
        self.schema = schema

    @property
    def digest(self) -> bytes:
        """Digest that others' sets must have."""
        return self.schema.digest

    @abstractmethod
    def common(self) -> CommonStatistics:
        """Return the statistics of all tables together."""


class Summaries(TableStatements[SummaryStatement]):
    """Summaries of a network's members."""

    @property
    def members(self) -> dict[str, int]:
        """Rows of each member, by peer id."""
        return {peer_id_of(key): each.summary.rows for key, (_, each, _) in sorted(self._kept.items())}

    def common(self) -> CommonStatistics:
        """Return the statistics of all tables together."""
        return CommonStatistics(
            schema=self.schema,
            members=self.members,
            total=merged((each.summary for _, each, _ in self._kept.values()), self.schema),
            statements=self.in_text(),
        )

    def _read(self, record: Record) -> SummaryStatement:
        return read_summary(record.data, self.schema, network=self.network)


def read_places(data: bytes, size: int) -> list[Place]:
    """Return the places in a list of them, at most one for each key.

    Raises
    ------
    MalformedStatement
        A key is in it twice.
    """
    places = [Place.from_bytes(data[start : start + size]) for start in range(0, len(data), size)]
    if len({place.key for place in places}) < len(places):
        raise MalformedStatement("a list of summaries names a member twice")
    return places
