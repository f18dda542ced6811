"""Messages of peers that learn in rounds: a row for one exchange of one round, and a peer's progress."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from gossipfl.codecs import TensorHeader
from gossipfl.wire.messages import Checksum, DeclaredHeader, Digest
from gossipfl.wire.preamble import Kind

__all__ = ["Progress", "RoundHeader", "RoundMessage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundHeader(DeclaredHeader):
    """Everything about a round's row except its numbers.

    Round, exchange and incarnation name the row: a start of a peer does each round at most once.

    Parameters
    ----------
    task, layout : bytes, length 32
        Fingerprint of the sender's task, and digest of its layout.
    agreement : bytes, length 32
        Digest of what all peers of a network of rounds must have in common.
    incarnation : int
        Number of the sender's start.
    round, exchange : int
        Number of the round, and of the exchange within it, both from 0.
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
    """A row of a round from another peer, checked.

    Parameters
    ----------
    header : RoundHeader
    row : Tensor, shape [K], float32
        All finite; it owns, or shares with nobody else, the memory it was received in.
    """

    header: RoundHeader
    row: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress(DeclaredHeader):
    """A peer's progress in the rounds: both question and answer.

    Parameters
    ----------
    task : bytes, length 32
        Fingerprint of the task.
    agreement : bytes, length 32
        As in `RoundHeader`.
    incarnation : int
    round, exchange : int
        The sender's current round and exchange: the first for which it may still need rows.
    kept : bool
        In the answer to a row: whether it arrived in time and will be used. False in a question.
    """

    kind: ClassVar[Kind] = Kind.PROGRESS
    task: Digest
    agreement: Digest
    incarnation: int
    round: int
    exchange: int
    kept: bool
