"""Messages of peers that gossip: models, requests for them, acknowledgements and views."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final

from torch import Tensor

from gossipfl.codecs import TensorHeader
from gossipfl.wire.headers import Ages, Checksum, Digest, Header, Host, Peers
from gossipfl.wire.preamble import Kind

__all__ = [
    "OFFERED_BYTES",
    "Acknowledgement",
    "Clearance",
    "ModelHeader",
    "ModelMessage",
    "PartHeader",
    "Pull",
    "View",
]

#: The body of a frame is sent with its header up to this length; a longer one waits for a clearance.
OFFERED_BYTES: Final = 128 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelHeader(Header):
    """Everything about a row except its numbers.

    Parameters
    ----------
    task, layout : bytes, length 32
        Fingerprint of the sender's task, and digest of its layout.
    age : int
        Age of the row, in local training steps.
    incarnation : int
        Number of the sender's start; higher than at any earlier start.
    sequence : int
        Number of the model message within its incarnation; strictly increasing.
    event : int
        Number of the event that produced this version of the sender's row, for replaying a recorded run.
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
class PartHeader(ModelHeader):
    """Everything about a part of a row except its numbers.

    Parameters
    ----------
    age : int
        The largest of ``ages``.
    part : int
        Number of the part that is sent, from which its places in a row follow; in an answer that of the question.
    ages : tuple of int
        Age of each part of the row, or the one age of all.
    """

    kind: ClassVar[Kind] = Kind.PART

    part: int
    ages: Ages


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMessage:
    """A validated row from another peer, or a part of one.

    Parameters
    ----------
    row : Tensor, shape [D], float32
        Or the numbers of the part, [K]. All finite. Nothing else uses the memory in which it was received.
    carried : mapping of str to Tensor
        Further rows, float32 of shape [K], or [] for a single number; all finite.
    """

    header: ModelHeader
    row: Tensor
    carried: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull(Header):
    """A request for the receiver's row, without one of the sender's.

    Parameters
    ----------
    task, layout : bytes, length 32
        As in `ModelHeader`.
    incarnation : int
        Number of the sender's start.
    part : int
        Number of the part that is asked for; 0 where rows are sent whole.
    """

    kind: ClassVar[Kind] = Kind.PULL

    task: Digest
    layout: Digest
    incarnation: int
    part: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement(Header):
    """A pushed row was accepted, and none is returned.

    Parameters
    ----------
    incarnation, sequence : int
        Those of the accepted message.
    """

    kind: ClassVar[Kind] = Kind.ACKNOWLEDGEMENT
    incarnation: int
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Clearance(Header):
    """The answer to the header of a large row: the body may be sent, or when to come again.

    Parameters
    ----------
    retry_after : int
        0 if the body is to be sent now. Otherwise the row is not wanted now, and the sender is asked to offer
        another one after so many milliseconds, not before.
    """

    kind: ClassVar[Kind] = Kind.CLEARANCE
    retry_after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class View(Header):
    """Some of the peers that the sender knows.

    Parameters
    ----------
    task : bytes, length 32
        Fingerprint of the task that all of them learn.
    peers : tuple of PeerDescriptor
        Each peer at most once.
    observed : str
        IP address at which the sender sees the receiver; empty if not stated.
    """

    kind: ClassVar[Kind] = Kind.VIEW
    task: Digest
    peers: Peers
    observed: Host = ""
