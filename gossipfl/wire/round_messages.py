"""Messages of peers that learn in rounds: a row for one exchange, a peer's progress, a step of a masked sum."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from gossipfl.codecs import TensorHeader
from gossipfl.wire.headers import Checksum, Content, Digest, Header
from gossipfl.wire.preamble import Kind

__all__ = ["Progress", "RoundHeader", "RoundMessage", "SumMessage", "SumStep"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundHeader(Header):
    """Everything about a round's row except its numbers.

    Round, exchange and incarnation identify the row, since each start of a peer does each round at most once.

    Parameters
    ----------
    task, layout : bytes, length 32
        Fingerprint of the sender's task, and digest of its layout.
    agreement : bytes, length 32
        Digest of everything that all peers in these rounds must have in common.
    incarnation : int
        Number of the sender's start.
    round, exchange : int
        Number of the round, and of the exchange within it, both counted from 0.
    codec : str
        Name of the codec.
    tensors : tuple of TensorHeader
        The payload's tensors, in the order of their bytes.
    checksum : int
        xxh3_64 of the body.
    """

    kind: ClassVar[Kind] = Kind.ROUND

    task: Digest
    layout: Digest
    agreement: Digest
    incarnation: int
    round: int
    exchange: int
    codec: str
    tensors: tuple[TensorHeader, ...]
    checksum: Checksum


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundMessage:
    """A validated row of a round from another peer.

    Parameters
    ----------
    row : Tensor, shape [K], float32
        All finite. Nothing else uses the memory in which it was received.
    """

    header: RoundHeader
    row: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress(Header):
    """A peer's progress in the rounds, as a question or an answer.

    Parameters
    ----------
    task : bytes, length 32
        Fingerprint of the task.
    agreement : bytes, length 32
        As in `RoundHeader`.
    round, exchange : int
        The sender's current round and exchange: the first for which it may still need rows.
    kept : bool
        In an answer to a row: whether the row arrived in time and will be used. False in a question.
    """

    kind: ClassVar[Kind] = Kind.PROGRESS
    task: Digest
    agreement: Digest
    incarnation: int
    round: int
    exchange: int
    kept: bool


class SumStep(enum.IntEnum):
    """What the receiver of a masked sum asks a neighbour, and what the neighbour answers."""

    INTRODUCTION = 1
    INVITATION = 2
    PARTICIPANTS = 3
    SURVIVORS = 4
    SIGNATURES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SumMessage(Header):
    """A step of a masked sum; `gossipfl.secure` interprets its content. The asking peer is the sum's receiver.

    Parameters
    ----------
    agreement : bytes, length 32
        As in `RoundHeader`.
    round, exchange : int
        Of the sum.
    step : int
        A `SumStep`, the same in question and answer.
    content : bytes
        Of the question or the answer.
    """

    kind: ClassVar[Kind] = Kind.SUM
    agreement: Digest
    round: int
    exchange: int
    step: int
    content: Content = b""
