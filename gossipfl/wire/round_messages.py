"""Messages of peers that learn in rounds: a row for one exchange of one round, and a peer's progress."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from gossipfl.codecs import TensorHeader
from gossipfl.wire.headers import Checksum, Digest, Header
from gossipfl.wire.preamble import Kind

__all__ = ["Progress", "RoundHeader", "RoundMessage"]


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
