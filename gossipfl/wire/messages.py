"""Messages of peers that gossip, and the fields of their headers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self

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
    "Header",
    "ModelHeader",
    "ModelMessage",
    "PeerDescriptor",
    "View",
    "read_tensors",
    "tensor_fields",
]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")
_PEER_ID = re.compile(r"[1-9A-HJ-NP-Za-km-z]+")
_ADDRESS = re.compile(r"/[!-~]+")
_IP = re.compile(r"[0-9A-Fa-f.:]*")


class Header(Protocol):
    """What all headers have: a kind, and a strict reading and writing of their fields."""

    kind: ClassVar[Kind]

    @classmethod
    def from_fields(cls, fields: object, *, limits: Limits) -> Self:
        """Read the fields, or raise `MalformedFrame` or `MessageTooLarge`."""
        ...

    def to_fields(self) -> Mapping[str, object]:
        """Give the fields, of msgpack's types only."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelHeader:
    """All that is said of a row but its numbers.

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
    _keys: ClassVar[tuple[str, ...]] = (
        *("task", "layout", "age", "incarnation", "sequence", "event"),
        *("wants_answer", "codec", "tensors", "checksum"),
    )

    task: bytes
    layout: bytes
    age: int
    incarnation: int
    sequence: int
    event: int
    wants_answer: bool
    codec: str
    tensors: tuple[TensorHeader, ...]
    checksum: int

    @classmethod
    def from_fields(cls, fields: object, *, limits: Limits) -> Self:
        """Read the fields, or raise `MalformedFrame` or `MessageTooLarge`."""
        read = Fields(fields, keys=cls._keys)
        return cls(
            task=read.digest("task"),
            layout=read.digest("layout"),
            age=read.integer("age"),
            incarnation=read.integer("incarnation"),
            sequence=read.integer("sequence"),
            event=read.integer("event"),
            wants_answer=read.boolean("wants_answer"),
            codec=read.string("codec", most=limits.name_length, pattern=_NAME),
            tensors=read_tensors(read, limits),
            checksum=read.integer("checksum", most=2**64 - 1),
        )

    def to_fields(self) -> Mapping[str, object]:
        """Give the fields, of msgpack's types only."""
        fields: dict[str, object] = {key: getattr(self, key) for key in self._keys}
        fields["tensors"] = tensor_fields(self.tensors)
        return fields


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
class Acknowledgement:
    """A pushed row was accepted, and none comes back.

    Parameters
    ----------
    incarnation, sequence : int
        Those of the message accepted.
    """

    kind: ClassVar[Kind] = Kind.ACKNOWLEDGEMENT
    incarnation: int
    sequence: int

    @classmethod
    def from_fields(cls, fields: object, *, limits: Limits) -> Self:
        """Read the fields, or raise `MalformedFrame`."""
        read = Fields(fields, keys=("incarnation", "sequence"))
        return cls(incarnation=read.integer("incarnation"), sequence=read.integer("sequence"))

    def to_fields(self) -> Mapping[str, object]:
        """Give the fields, of msgpack's types only."""
        return {"incarnation": self.incarnation, "sequence": self.sequence}


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerDescriptor:
    """Where a peer can be found, as a view tells it; see `announcements` for its signature.

    Parameters
    ----------
    peer_id : str
        In base 58.
    addresses : tuple of str
        Multiaddresses.
    age : int
        Exchanges of views since the peer itself told it ("hop count" in Jelasity et al. 2007). Not signed.
    sequence : int
        Higher in each new announcement of the peer; by convention, milliseconds since 1970.
    signature : bytes, length 64
        Of the peer; empty in a descriptor that comes from settings, which is told to nobody.
    """

    peer_id: str
    addresses: tuple[str, ...]
    age: int = 0
    sequence: int = 0
    signature: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Some peers that the sender knows of.

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


def read_tensors(read: Fields, limits: Limits) -> tuple[TensorHeader, ...]:
    """Read the field ``tensors`` of a header."""
    return tuple(_tensor(each, limits) for each in read.array("tensors", most=limits.tensors))


def tensor_fields(tensors: tuple[TensorHeader, ...]) -> list[object]:
    """Give the field ``tensors`` of a header, of msgpack's types only."""
    return [[each.name, each.dtype, list(each.shape)] for each in tensors]


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
