"""Summaries of members' tables: signed, of bounded size, and of one schema and network."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gossipfl.errors import MalformedStatement
from gossipfl.statistics import CategorySummary, NumberSummary, Summary, TableSchema, require_plausible
from gossipfl.statistics.schema import MOST_CATEGORIES, ColumnSchema
from gossipfl.statistics.summary import MOST_NAME_BYTES

__all__ = [
    "MOST_SUMMARY_BYTES",
    "PLACE_BYTES",
    "Place",
    "SummaryStatement",
    "place_of",
    "read_summary",
    "write_summary",
]

MOST_SUMMARY_BYTES: Final = 65_535
_SIGNATURE_BYTES: Final = 64
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
    body = b"".join(parts)
    if len(body) + _SIGNATURE_BYTES > MOST_SUMMARY_BYTES:
        raise MalformedStatement(
            "the summary of this table is too long",
            expected=f"at most {MOST_SUMMARY_BYTES} bytes",
            got=len(body) + _SIGNATURE_BYTES,
            remedy="Leave out columns of many categories.",
        )
    return body + sign(_PREFIX + body)


def read_summary(data: bytes, schema: TableSchema, *, network: bytes) -> SummaryStatement:
    """Return a statement whose signature is right, and which a table of this schema can have.

    Raises
    ------
    MalformedStatement
        It is not one, is of another schema or network, or is not signed by its member.
    """
    if not _HEADER.size + _SIGNATURE_BYTES <= len(data) <= MOST_SUMMARY_BYTES:
        raise MalformedStatement(
            "a summary has a wrong length", expected=f"at most {MOST_SUMMARY_BYTES} bytes", got=len(data)
        )
    body, signature = data[:-_SIGNATURE_BYTES], data[-_SIGNATURE_BYTES:]
    key, theirs, digest, sequence, rows = _HEADER.unpack_from(body)
    if digest != schema.digest or theirs != network:
        raise MalformedStatement("a summary is of another schema or another network")
    reader = _Reader(body[_HEADER.size :])
    columns = tuple(_column(reader, column) for column in schema.columns.values())
    if reader.left:
        raise MalformedStatement("a summary goes on behind its columns")
    summary = Summary(rows=rows, columns=columns)
    require_plausible(summary, schema)
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, _PREFIX + body)
    except (InvalidSignature, ValueError) as error:
        raise MalformedStatement("a summary is not signed by its member") from error
    return SummaryStatement(key=key, network=network, sequence=sequence, summary=summary)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.left = data

    def take(self, size: int) -> bytes:
        if len(self.left) < size:
            raise MalformedStatement("a summary is cut short")
        taken, self.left = self.left[:size], self.left[size:]
        return taken

    def integer(self, size: int, *, is_signed: bool = False) -> int:
        return int.from_bytes(self.take(size), "little", signed=is_signed)


def _column(reader: _Reader, column: ColumnSchema) -> NumberSummary | CategorySummary:
    if column.kind == "number":
        present, total = reader.integer(8), reader.integer(_SUM_BYTES, is_signed=True)
        squares, flag = reader.integer(_SUM_BYTES, is_signed=True), reader.integer(1)
        if flag > 1:
            raise MalformedStatement("a summary has a flag that is neither 0 nor 1")
        low, high = (reader.integer(16, is_signed=True) for _ in range(2)) if flag else (0, 0)
        extremes = (low, high) if flag else None
        return NumberSummary(present=present, total=total, squares=squares, extremes=extremes)
    other, count = reader.integer(8), reader.integer(1)
    if count > MOST_CATEGORIES:
        raise MalformedStatement(
            "a summary has too many categories", expected=f"at most {MOST_CATEGORIES}", got=count
        )
    rows: dict[str, int] = {}
    for _ in range(count):
        name = _name(reader)
        if rows and name <= max(rows):
            raise MalformedStatement("a summary has categories out of order")
        rows[name] = reader.integer(8)
    return CategorySummary(rows=rows, other=other)


def _name(reader: _Reader) -> str:
    size = reader.integer(1)
    if size > MOST_NAME_BYTES:
        raise MalformedStatement(
            "a summary has a name that is too long", expected=f"at most {MOST_NAME_BYTES} bytes"
        )
    try:
        return reader.take(size).decode()
    except UnicodeDecodeError:
        raise MalformedStatement("a summary has a name that is no text") from None


def _integer(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little", signed=value < 0 or size >= 16)
