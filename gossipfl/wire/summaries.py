"""Summaries of members' tables: signed, of bounded size, and of one schema and network."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gossipfl.errors import MalformedStatement
from gossipfl.statistics import CategorySummary, NumberSummary, Summary, TableSchema, require_plausible
from gossipfl.statistics.schema import ColumnSchema
from gossipfl.wire.signed_statements import MOST_SUMMARY_BYTES, Fields, opened, signed, signed_by

__all__ = [
    "MOST_SUMMARY_BYTES",
    "PLACE_BYTES",
    "Place",
    "SummaryStatement",
    "place_of",
    "read_summary",
    "write_summary",
]

_HEADER: Final = struct.Struct("<32s32s32sQQ")
_PREFIX: Final = b"gossipfl summary 1\n"
_SUM_BYTES: Final = 32
_PLACE: Final = struct.Struct("<32sQ8s")
PLACE_BYTES: Final = _PLACE.size


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryStatement:
    """One member's summary.

    Parameters
    ----------
    key : bytes, length 32
        Its public key.
    network : bytes, length 32
        Id of the network; zeros if members have no certificates.
    sequence : int
        Higher in each new summary of a member.
    """

    key: bytes
    network: bytes
    sequence: int
    summary: Summary


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Name of a statement: of two by one key, the greater one is newer."""

    key: bytes
    sequence: int
    digest: bytes

    def to_bytes(self) -> bytes:
        """Return `PLACE_BYTES` bytes."""
        return _PLACE.pack(self.key, self.sequence, self.digest)

    @classmethod
    def from_bytes(cls, data: bytes) -> Place:
        """Read what `to_bytes` wrote."""
        return cls(*_PLACE.unpack(data))


def place_of(data: bytes) -> Place:
    """Return the place of an encoded statement, of which nothing is verified yet.

    Raises
    ------
    MalformedStatement
        It is too short.
    """
    if len(data) < _HEADER.size:
        raise MalformedStatement("a summary is cut short")
    key, _, _, sequence, _ = _HEADER.unpack_from(data)
    return Place(key, sequence, hashlib.sha256(data).digest()[:8])


def write_summary(
    statement: SummaryStatement, schema: TableSchema, *, sign: Callable[[bytes], bytes]
) -> bytes:
    """Encode and sign a statement.

    Raises
    ------
    MalformedStatement
        It would be too long.
    """
    summary = statement.summary
    parts = [_HEADER.pack(statement.key, statement.network, schema.digest, statement.sequence, summary.rows)]
    for each in summary.columns:
        if isinstance(each, NumberSummary):
            parts += [
                _integer(each.present, 8),
                _integer(each.total, _SUM_BYTES),
                _integer(each.squares, _SUM_BYTES),
            ]
            parts.append(bytes([each.extremes is not None]))
            parts += [_integer(extreme, 16) for extreme in each.extremes or ()]
        else:
            parts += [_integer(each.other, 8), bytes([len(each.rows)])]
            for name, rows in sorted(each.rows.items()):
                encoded = name.encode()
                parts += [bytes([len(encoded)]), encoded, _integer(rows, 8)]
    return signed(b"".join(parts), prefix=_PREFIX, sign=sign)


def read_summary(data: bytes, schema: TableSchema, *, network: bytes) -> SummaryStatement:
    """Return a statement whose signature is right, and which a table of this schema can have.

    Raises
    ------
    MalformedStatement
        It is not one, is of another schema or network, or is not signed by its member.
    """
    (key, _, _, sequence, rows), fields = opened(data, header=_HEADER, digest=schema.digest, network=network)
    columns = tuple(_column(fields, column) for column in schema.columns.values())
    if fields.left:
        raise MalformedStatement("a summary goes on behind its columns")
    summary = Summary(rows=rows, columns=columns)
    require_plausible(summary, schema)
    signed_by(key, data, prefix=_PREFIX)
    return SummaryStatement(key=key, network=network, sequence=sequence, summary=summary)


def _column(fields: Fields, column: ColumnSchema) -> NumberSummary | CategorySummary:
    if column.kind == "number":
        present, total = fields.integer(8), fields.integer(_SUM_BYTES, is_signed=True)
        squares, flag = fields.integer(_SUM_BYTES, is_signed=True), fields.integer(1)
        if flag > 1:
            raise MalformedStatement("a summary has a flag that is neither 0 nor 1")
        low, high = (fields.integer(16, is_signed=True) for _ in range(2)) if flag else (0, 0)
        extremes = (low, high) if flag else None
        return NumberSummary(present=present, total=total, squares=squares, extremes=extremes)
    other = fields.integer(8)
    rows: dict[str, int] = {}
    for _ in range(fields.categories()):
        name = fields.name(after=next(reversed(rows), None))
        rows[name] = fields.integer(8)
    return CategorySummary(rows=rows, other=other)


def _integer(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little", signed=value < 0 or size >= 16)
