"""Headers declared by their fields: the type of each says how it is read, strictly, and written."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeAlias

from gossipfl.codecs import TensorHeader
from gossipfl.errors import MalformedFrame
from gossipfl.wire.announcements import PeerDescriptor
from gossipfl.wire.limits import Limits
from gossipfl.wire.preamble import Kind
from gossipfl.wire.schema import (
    SIGNATURE_BYTES,
    Fields,
    require_array,
    require_bytes,
    require_integer,
    require_string,
)

__all__ = [
    "Ages",
    "Checksum",
    "Content",
    "Digest",
    "Header",
    "Host",
    "Peers",
    "RefusalCode",
    "RefusalText",
    "Statements",
]

#: A digest of 32 bytes.
Digest: TypeAlias = bytes
#: xxh3_64 of a body.
Checksum: TypeAlias = int
#: Descriptors of peers, each peer at most once.
Peers: TypeAlias = tuple[PeerDescriptor, ...]
#: Ages of the parts of a model.
Ages: TypeAlias = tuple[int, ...]
#: An IP address, or empty.
Host: TypeAlias = str
RefusalCode: TypeAlias = str
#: Printable ASCII only: it ends up in logs and terminals, where escape sequences would take effect.
RefusalText: TypeAlias = str
#: Statements about a network, each as bytes.
Statements: TypeAlias = tuple[bytes, ...]
#: One encoded message of another protocol.
Content: TypeAlias = bytes

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")
_PEER_ID = re.compile(r"[1-9A-HJ-NP-Za-km-z]+")
_ADDRESS = re.compile(r"/[!-~]+")
_HOST = re.compile(r"[0-9A-Fa-f.:]*")
_CODE = re.compile(r"[a-z][a-z0-9_]*")
_TEXT = re.compile(r"[ -~]*")


@dataclass(frozen=True, slots=True)
class Header:
    """A header whose keys are the fields of its class."""

    kind: ClassVar[Kind]

    @classmethod
    def from_fields(cls, fields: object, *, limits: Limits) -> Self:
        """Read the fields, or raise `MalformedFrame` or `MessageTooLarge`."""
        declared = {each.name: str(each.type) for each in dataclasses.fields(cls)}
        read = Fields(fields, keys=tuple(declared))
        values = {name: _READERS[kind](read, name, limits) for name, kind in declared.items()}
        return cls(**values)

    def to_fields(self) -> Mapping[str, object]:
        """Return the fields as msgpack's types."""
        return {each.name: _plain(getattr(self, each.name)) for each in dataclasses.fields(self)}


def _plain(value: Any) -> object:  # noqa: ANN401 - of any field
    """Return a value as msgpack's types; a dataclass becomes an array of its fields."""
    if dataclasses.is_dataclass(value):
        return [_plain(getattr(value, each.name)) for each in dataclasses.fields(value)]
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


def _read_tensors(read: Fields, key: str, limits: Limits) -> tuple[TensorHeader, ...]:
    return tuple(_tensor(each, limits) for each in read.array(key, most=limits.tensors))


def _tensor(entry: object, limits: Limits) -> TensorHeader:
    name, dtype, shape = require_array(entry, what="an entry of tensors", most=3, exactly=3)
    extents: list[Any] = require_array(shape, what="a tensor's shape", most=limits.dimensions)
    return TensorHeader(
        require_string(name, what="a tensor's name", most=limits.name_length, pattern=_NAME),
        require_string(dtype, what="a tensor's dtype", most=limits.name_length, pattern=_NAME),
        tuple(require_integer(each, what="a dimension of a tensor") for each in extents),
    )


def _read_peers(read: Fields, key: str, limits: Limits) -> Peers:
    peers = tuple(_descriptor(each, limits) for each in read.array(key, most=limits.view_peers))
    if len({each.peer_id for each in peers}) != len(peers):
        raise MalformedFrame("the view names a peer twice", expected="each peer at most once")
    return peers


def _descriptor(entry: object, limits: Limits) -> PeerDescriptor:
    peer_id, listed, age, sequence, signature = require_array(
        entry, what="an entry of peers", most=5, exactly=5
    )
    addresses: list[Any] = require_array(listed, what="a peer's addresses", most=limits.addresses)
    return PeerDescriptor(
        peer_id=require_string(peer_id, what="a peer id", most=limits.peer_id_length, pattern=_PEER_ID),
        addresses=tuple(
            require_string(each, what="an address", most=limits.address_length, pattern=_ADDRESS)
            for each in addresses
        ),
        age=require_integer(age, what="the age of a descriptor"),
        sequence=require_integer(sequence, what="the sequence of a descriptor"),
        signature=require_bytes(signature, what="the signature of a descriptor", length=SIGNATURE_BYTES),
    )


def _read_ages(read: Fields, key: str, limits: Limits) -> Ages:
    return tuple(require_integer(each, what="an age") for each in read.array(key, most=limits.parts))


def _read_statements(read: Fields, key: str, limits: Limits) -> Statements:
    statements = read.array(key, most=limits.statements)
    return tuple(require_bytes(each, what="a statement", most=limits.statement_bytes) for each in statements)


_READERS: dict[str, Callable[[Fields, str, Limits], Any]] = {
    "Digest": lambda read, key, limits: read.digest(key),
    "int": lambda read, key, limits: read.integer(key),
    "Checksum": lambda read, key, limits: read.integer(key, most=2**64 - 1),
    "bool": lambda read, key, limits: read.boolean(key),
    "str": lambda read, key, limits: read.string(key, most=limits.name_length, pattern=_NAME),
    "Host": lambda read, key, limits: read.string(key, most=limits.name_length, pattern=_HOST),
    "RefusalCode": lambda read, key, limits: read.string(key, most=limits.name_length, pattern=_CODE),
    "RefusalText": lambda read, key, limits: read.string(key, most=limits.text_length, pattern=_TEXT),
    "tuple[TensorHeader, ...]": _read_tensors,
    "Ages": _read_ages,
    "Peers": _read_peers,
    "Statements": _read_statements,
    "Content": lambda read, key, limits: read.content(key, most=limits.statement_bytes),
}
