"""Messages of peers that gossip, and the fields of their headers."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self, TypeAlias

from torch import Tensor

from gossipfl.codecs import TensorHeader
from gossipfl.errors import MalformedFrame
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
    "Acknowledgement",
    "Checksum",
    "DeclaredHeader",
    "Digest",
    "Header",
    "ModelHeader",
    "ModelMessage",
    "PeerDescriptor",
    "View",
]

#: SHA-256 of something, 32 bytes.
Digest: TypeAlias = bytes
#: xxh3_64 of a body.
Checksum: TypeAlias = int

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")
_PEER_ID = re.compile(r"[1-9A-HJ-NP-Za-km-z]+")
_ADDRESS = re.compile(r"/[!-~]+")
_IP = re.compile(r"[0-9A-Fa-f.:]*")


class Header(Protocol):
    """Interface of all headers: a kind, and strict reading and writing of fields."""

    kind: ClassVar[Kind]

    @classmethod
    def from_fields(cls, fields: object, *, limits: Limits) -> Self:
        """Read the fields, or raise `MalformedFrame` or `MessageTooLarge`."""
        ...

    def to_fields(self) -> Mapping[str, object]:
        """Give the fields, of msgpack's types only."""
        ...


@dataclass(frozen=True, slots=True)
class DeclaredHeader:
    """A header whose keys are its fields, each read strictly by its type."""

    @classmethod
    def from_fields(cls, fields: object, *, limits: Limits) -> Self:
        """Read the fields, or raise `MalformedFrame` or `MessageTooLarge`."""
        declared = {each.name: str(each.type) for each in dataclasses.fields(cls)}
        read = Fields(fields, keys=tuple(declared))
        values = {name: _READERS[kind](read, name, limits) for name, kind in declared.items()}
        return cls(**values)

    def to_fields(self) -> Mapping[str, object]:
        """Give the fields, of msgpack's types only."""
        values = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        if "tensors" in values:
            values["tensors"] = [[each.name, each.dtype, list(each.shape)] for each in values["tensors"]]
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelHeader(DeclaredHeader):
    """Everything about a row except its numbers.

    Parameters
    ----------
    task, layout : bytes, length 32
        Fingerprint of the sender's task, and digest of its layout.
    age : int
        Age of the row, in local training steps.
    incarnation : int
        Number of the sender's start; higher than at every start before.
    sequence : int
        Counts the sender's model messages within its incarnation; strictly increasing.
    event : int
        Number of the event that made this very version of the sender's row; a recorded run is replayed by it.
    wants_answer : bool
        Whether the sender asks for the receiver's row in return. False in an answer.
    codec : str
        Name of the codec.
    tensors : tuple of TensorHeader
        The payload's tensors, in the order of their bytes.
    checksum : int
        xxh3_64 of the body.
    """

    kind: ClassVar[Kind] = Kind.MODEL

    task: Digest
    layout: Digest
    age: int
    incarnation: int
    sequence: int
    event: int
    wants_answer: bool
    codec: str
    tensors: tuple[TensorHeader, ...]
    checksum: Checksum


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMessage:
    """A row from another peer, checked.

    Parameters
    ----------
    header : ModelHeader
    row : Tensor, shape [D], float32
        All finite; it owns, or shares with nobody else, the memory it was received in.
    carried : mapping of str to Tensor
        Further rows, float32 of shape [K], or [] for a single number; all finite.
    """

    header: ModelHeader
    row: Tensor
    carried: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement(DeclaredHeader):
    """A pushed row was accepted, and none comes back.

    Parameters
    ----------
    incarnation, sequence : int
        Those of the message accepted.
    """

    kind: ClassVar[Kind] = Kind.ACKNOWLEDGEMENT
    incarnation: int
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerDescriptor:
    """Addresses of a peer, as listed in a view; see `announcements` for its signature.

    Parameters
    ----------
    peer_id : str
        In base 58.
    addresses : tuple of str
        Multiaddresses.
    age : int
        View exchanges since the peer itself issued it ("hop count" in Jelasity et al. 2007). Not signed.
    sequence : int
        Higher in each new announcement of the peer; by convention, milliseconds since 1970.
    signature : bytes, length 64
        Signature of the peer; empty in a descriptor from settings, which is sent to nobody.
    """

    peer_id: str
    addresses: tuple[str, ...]
    age: int = 0
    sequence: int = 0
    signature: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Some of the peers that the sender knows.

    Parameters
    ----------
    task : bytes, length 32
        Fingerprint of the task that all of them learn.
    peers : tuple of PeerDescriptor
        Each peer at most once.
    observed : str
        IP address at which the sender sees the receiver; empty if it does not say.
    """

    kind: ClassVar[Kind] = Kind.VIEW
    task: bytes
    peers: tuple[PeerDescriptor, ...]
    observed: str = ""

    @classmethod
    def from_fields(cls, fields: object, *, limits: Limits) -> Self:
        """Read the fields, or raise `MalformedFrame` or `MessageTooLarge`."""
        read = Fields(fields, keys=("task", "peers", "observed"))
        peers = tuple(_descriptor(each, limits) for each in read.array("peers", most=limits.view_peers))
        if len({each.peer_id for each in peers}) != len(peers):
            raise MalformedFrame("the view names a peer twice", expected="each peer at most once")
        observed = read.string("observed", most=limits.name_length, pattern=_IP)
        return cls(task=read.digest("task"), peers=peers, observed=observed)

    def to_fields(self) -> Mapping[str, object]:
        """Give the fields, of msgpack's types only."""
        peers = [
            [each.peer_id, list(each.addresses), each.age, each.sequence, each.signature]
            for each in self.peers
        ]
        return {"task": self.task, "peers": peers, "observed": self.observed}


def _tensor(entry: object, limits: Limits) -> TensorHeader:
    name, dtype, shape = require_array(entry, what="an entry of tensors", most=3, exactly=3)
    extents: list[Any] = require_array(shape, what="a tensor's shape", most=limits.dimensions)
    return TensorHeader(
        require_string(name, what="a tensor's name", most=limits.name_length, pattern=_NAME),
        require_string(dtype, what="a tensor's dtype", most=limits.name_length, pattern=_NAME),
        tuple(require_integer(each, what="a dimension of a tensor") for each in extents),
    )


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


def _codec(read: Fields, key: str, limits: Limits) -> str:
    return read.string(key, most=limits.name_length, pattern=_NAME)


def _tensors(read: Fields, key: str, limits: Limits) -> tuple[TensorHeader, ...]:
    return tuple(_tensor(each, limits) for each in read.array(key, most=limits.tensors))


_READERS: dict[str, Callable[[Fields, str, Limits], Any]] = {
    "Digest": lambda read, key, limits: read.digest(key),
    "int": lambda read, key, limits: read.integer(key),
    "Checksum": lambda read, key, limits: read.integer(key, most=2**64 - 1),
    "bool": lambda read, key, limits: read.boolean(key),
    "str": _codec,
    "tuple[TensorHeader, ...]": _tensors,
}
