"""Masked summaries of members' tables: signed, of bounded size, and of one schema and network."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gossipfl.errors import MalformedStatement
from gossipfl.statistics import TableSchema
from gossipfl.statistics.summary import is_name
from gossipfl.wire.signed_statements import Fields, opened, signed, signed_by

__all__ = ["FIELD_BYTES", "MaskedStatement", "read_masked_summary", "write_masked_summary"]

FIELD_BYTES: Final = 32
_HEADER: Final = struct.Struct("<32s32s32sQ32s32sH")
_PREFIX: Final = b"gossipfl masked summary 1\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedStatement:
    """One member's key for masks, the categories that it has, and, once it knows everybody's, its masked sums.

    Parameters
    ----------
    key : bytes, length 32
        Its Ed25519 public key.
    network : bytes, length 32
        Id of the network; zeros if members have no certificates.
    sequence : int
        Higher in each new statement of a member.
    public : bytes, length 32
        X25519 key, of one gathering.
    names : tuple of tuple of str
        Names of its categories, for each column of the schema.
    session : bytes, length 32
        Digest of the keys and names of all members; zeros before they are known.
    masked : tuple of int
        Its sums and all masks, modulo 2²⁵⁶; empty before.
    """

    key: bytes
    network: bytes
    sequence: int
    public: bytes
    names: tuple[tuple[str, ...], ...]
    session: bytes = bytes(32)
    masked: tuple[int, ...] = ()


def write_masked_summary(
    statement: MaskedStatement, schema: TableSchema, *, sign: Callable[[bytes], bytes]
) -> bytes:
    """Encode and sign a statement.

    Raises
    ------
    MalformedStatement
        It would be too long.
    """
    parts = [
        _HEADER.pack(
            statement.key,
            statement.network,
            schema.digest,
            statement.sequence,
            statement.public,
            statement.session,
            len(statement.masked),
        )
    ]
    for names in statement.names:
        parts.append(bytes([len(names)]))
        parts += [bytes([len(name.encode())]) + name.encode() for name in names]
    parts += [each.to_bytes(FIELD_BYTES, "little") for each in statement.masked]
    return signed(b"".join(parts), prefix=_PREFIX, sign=sign)


def read_masked_summary(data: bytes, schema: TableSchema, *, network: bytes) -> MaskedStatement:
    """Return a statement whose signature is right.

    Raises
    ------
    MalformedStatement
        It is not one, is of another schema or network, or is not signed by its member.
    """
    head, fields = opened(data, header=_HEADER, digest=schema.digest, network=network)
    key, _, _, sequence, public, session, count = head
    signed_by(key, data, prefix=_PREFIX)
    names = []
    for column in schema.columns.values():
        names.append(_names(fields))
        if names[-1] and column.kind == "number":
            raise MalformedStatement("a summary has categories in a column of numbers")
    if len(fields.left) != count * FIELD_BYTES:
        raise MalformedStatement("a summary has sums of a wrong length")
    return MaskedStatement(
        key=key,
        network=network,
        sequence=sequence,
        public=public,
        names=tuple(names),
        session=session,
        masked=tuple(fields.integer(FIELD_BYTES) for _ in range(count)),
    )


def _names(fields: Fields) -> tuple[str, ...]:
    names = list[str]()
    for _ in range(fields.categories()):
        names.append(fields.name(after=names[-1] if names else None))
        if not is_name(names[-1]):
            raise MalformedStatement("a summary has a name that cannot be printed")
    return tuple(names)
