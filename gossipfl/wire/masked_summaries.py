"""Masked summaries of members' tables: signed, of bounded size, and of one schema and network."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gossipfl.errors import MalformedStatement
from gossipfl.statistics import TableSchema
from gossipfl.statistics.schema import MOST_CATEGORIES
from gossipfl.statistics.summary import MOST_NAME_BYTES, is_name
from gossipfl.wire.summaries import MOST_SUMMARY_BYTES

__all__ = ["FIELD_BYTES", "MaskedStatement", "read_masked_summary", "write_masked_summary"]

FIELD_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 64
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
    body = b"".join(parts)
    if len(body) + _SIGNATURE_BYTES > MOST_SUMMARY_BYTES:
        raise MalformedStatement(
            "the masked summary of this table is too long",
            expected=f"at most {MOST_SUMMARY_BYTES} bytes",
            got=len(body) + _SIGNATURE_BYTES,
            remedy="Leave out columns of many categories.",
        )
    return body + sign(_PREFIX + body)


def read_masked_summary(data: bytes, schema: TableSchema, *, network: bytes) -> MaskedStatement:
    """Return a statement whose signature is right.

    Raises
    ------
    MalformedStatement
        It is not one, is of another schema or network, or is not signed by its member.
    """
    if not _HEADER.size + _SIGNATURE_BYTES <= len(data) <= MOST_SUMMARY_BYTES:
        raise _wrong("it has a wrong length")
    body, signature = data[:-_SIGNATURE_BYTES], data[-_SIGNATURE_BYTES:]
    key, theirs, digest, sequence, public, session, count = _HEADER.unpack_from(body)
    if digest != schema.digest or theirs != network:
        raise _wrong("it is of another schema or another network")
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, _PREFIX + body)
    except (InvalidSignature, ValueError):
        raise _wrong("it is not signed by its member") from None
    left = body[_HEADER.size :]
    names = []
    for column in schema.columns.values():
        told, left = _names(left)
        if told and column.kind == "number":
            raise _wrong("a column of numbers has categories")
        names.append(told)
    if len(left) != count * FIELD_BYTES:
        raise _wrong("its sums have a wrong length")
    fields = tuple(
        int.from_bytes(left[start : start + FIELD_BYTES], "little")
        for start in range(0, len(left), FIELD_BYTES)
    )
    return MaskedStatement(
        key=key,
        network=theirs,
        sequence=sequence,
        public=public,
        names=tuple(names),
        session=session,
        masked=fields,
    )


def _names(data: bytes) -> tuple[tuple[str, ...], bytes]:
    if not data or data[0] > MOST_CATEGORIES:
        raise _wrong("it is cut short, or has too many categories")
    count, data, names = data[0], data[1:], list[str]()
    for _ in range(count):
        size = data[0] if data else MOST_NAME_BYTES + 1
        if size > MOST_NAME_BYTES or len(data) < 1 + size:
            raise _wrong("a name is cut short, or too long")
        try:
            name = data[1 : 1 + size].decode()
        except UnicodeDecodeError:
            raise _wrong("a name is no text") from None
        if not is_name(name) or (names and name <= names[-1]):
            raise _wrong("its names are unprintable, or out of order")
        names.append(name)
        data = data[1 + size :]
    return tuple(names), data


def _wrong(why: str) -> MalformedStatement:
    return MalformedStatement(f"this is not a valid masked summary: {why}")
