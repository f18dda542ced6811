"""Sets of members' masked summaries: everybody learns the sums of all tables, and of no single one.

Every member tells a key and the names of its categories. Once it knows those of all, it tells its sums with a mask
for each other member, which cancel when all are added. Nobody may be missing, as in any gathering, so nothing is
ever revealed to make up for it. If a member starts again with another key, all tell their sums with other masks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection
from functools import cached_property
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from gossipfl.errors import SettingError, SummandsExposed
from gossipfl.peer.statistics.collection import Record, TableStatements
from gossipfl.secure import FEWEST_SUMMANDS
from gossipfl.secure.integers import masked_integers, sum_of_masked
from gossipfl.statistics import CommonStatistics, Summary, TableSchema, require_plausible
from gossipfl.statistics.vectors import Names, names_of, summary_of, vector_of
from gossipfl.wire.masked_summaries import (
    FIELD_BYTES,
    MaskedStatement,
    read_masked_summary,
    write_masked_summary,
)

__all__ = ["MaskedSummaries"]

_PREFIX: Final = b"gossipfl masked summaries 1\n"


class MaskedSummaries(TableStatements[MaskedStatement]):
    """Masked summaries of a roster's members, as far as they are known here.

    Parameters
    ----------
    schema : TableSchema
        Without extremes.
    network : bytes, length 32
    own : Summary
        Of this peer's table.
    key : bytes, length 32
        This peer's public key.
    roster : collection of bytes
        Public keys of all members, this one's included.
    sign : callable
        Signs with this peer's identity.
    admit : callable
        As for `SetOfStatements`.

    Raises
    ------
    SummandsExposed
        A member has fewer than 3 others.
    SettingError
        The schema has extremes, which do not add up.
    """

    def __init__(
        self,
        schema: TableSchema,
        network: bytes,
        *,
        own: Summary,
        key: bytes,
        roster: Collection[bytes],
        sign: Callable[[bytes], bytes],
        admit: Callable[[bytes, bytes], object],
    ) -> None:
        super().__init__(schema, network, admit=admit)
        told = [name for name, column in schema.columns.items() if column.extremes]
        if told:
            raise SettingError(
                f"column {told[0]!r} has extremes, which masked sums cannot give: they belong to single rows",
                remedy="Leave extremes out of the schema, or gather without --masked.",
            )
        if len({*roster, key}) <= FEWEST_SUMMANDS:
            raise SummandsExposed(
                "masked statistics of so few members would show single ones",
                expected=f"{FEWEST_SUMMANDS} or more others, named with --member",
                got=len({*roster, key}) - 1,
            )
        self._own, self._key, self._sign = own, key, sign
        self._roster = tuple(sorted({*roster, key}))
        self._private = X25519PrivateKey.generate()

    @cached_property
    def digest(self) -> bytes:
        """Digest that others' sets must have, so that masked and plain summaries are not mixed."""
        return hashlib.sha256(_PREFIX + self.schema.digest).digest()

    @property
    def session(self) -> bytes | None:
        """Digest of all members' keys and names; None before they are known."""
        known = [self._statement(key) for key in self._roster]
        if any(each is None for each in known):
            return None
        content = [_PREFIX, self.network, self.schema.digest]
        for each in known:
            assert each is not None  # noqa: S101  (none is missing)
            content += [each.key, each.public, json.dumps(each.names).encode()]
        return hashlib.sha256(b"".join(content)).digest()

    @property
    def told(self) -> frozenset[bytes]:
        """Keys of the members that have told their sums under the masks of all."""
        session = self.session
        if session is None:
            return frozenset()
        return frozenset(
            key
            for key in self._roster
            if (each := self._statement(key)) is not None
            and each.session == session
            and len(each.masked) == self._length()
        )

    @property
    def is_outdated(self) -> bool:
        """Whether this peer must tell its sums, with the masks of all members as they are now."""
        return self.session is not None and self._key not in self.told

    def statement(self, sequence: int) -> bytes:
        """Return this peer's own statement, with its masked sums once all members are known."""
        session = self.session
        statement = MaskedStatement(
            key=self._key,
            network=self.network,
            sequence=sequence,
            public=self._private.public_key().public_bytes_raw(),
            names=names_of(self._own),
            session=session or bytes(32),
            masked=() if session is None else self._masked(session),
        )
        return write_masked_summary(statement, self.schema, sign=self._sign)

    def common(self) -> CommonStatistics:
        """Return the statistics of all tables together.

        Raises
        ------
        MalformedStatement
            No tables have these sums: a member lied.
        """
        told = [self._known(key).masked for key in self._roster]
        sums = sum_of_masked(told, field_bytes=FIELD_BYTES)
        total = summary_of(sums, self._names(), self.schema)
        require_plausible(total, self.schema)
        return CommonStatistics(
            schema=self.schema, members=dict.fromkeys(self.members, 0), total=total, statements=self.in_text()
        )

    @property
    def members(self) -> dict[str, int]:
        """Members that have told their sums, by peer id; how many rows each has is not told, and given as 0."""
        return dict.fromkeys(self.peers(self.told), 0)

    def _read(self, record: Record) -> MaskedStatement:
        return read_masked_summary(record.data, self.schema, network=self.network)

    def _names(self) -> Names:
        """Names of all members' categories, for each column."""
        each = zip(*(self._known(key).names for key in self._roster), strict=True)
        return tuple(tuple(sorted({name for names in column for name in names})) for column in each)

    def _length(self) -> int:
        """How many sums a member tells."""
        return len(vector_of(self._own, self._names()))

    def _vector(self, names: Names) -> list[int]:
        """Return this peer's sums, as they are masked."""
        return vector_of(self._own, names)

    def _masked(self, session: bytes) -> tuple[int, ...]:
        return masked_integers(
            self._vector(self._names()),
            own=self._key,
            private=self._private,
            public={key: self._known(key).public for key in self._roster},
            session=session,
            field_bytes=FIELD_BYTES,
        )

    def _known(self, key: bytes) -> MaskedStatement:
        statement = self._statement(key)
        assert statement is not None  # noqa: S101  (the session says that all are known)
        return statement
