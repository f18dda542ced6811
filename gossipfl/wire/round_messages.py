"""Messages of peers that learn in rounds: a row for one exchange of one round, and how far a peer has come."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from torch import Tensor

from gossipfl.codecs import TensorHeader
from gossipfl.wire.limits import Limits
from gossipfl.wire.messages import read_tensors, tensor_fields
from gossipfl.wire.preamble import Kind
from gossipfl.wire.schema import Fields

__all__ = ["Progress", "RoundHeader", "RoundMessage"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundHeader:
    """All that is said of a round's row but its numbers.

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
    _keys: ClassVar[tuple[str, ...]] = (
        *("task", "layout", "agreement", "incarnation", "round", "exchange"),
        *("codec", "tensors", "checksum"),
    )

    task: bytes
    layout: bytes
    agreement: bytes
    incarnation: int
    round: int
    exchange: int
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
            agreement=read.digest("agreement"),
            incarnation=read.integer("incarnation"),
            round=read.integer("round"),
            exchange=read.integer("exchange"),
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
class Progress:
    """Where a peer is in the rounds: asked with, and answered with.

    Parameters
    ----------
    task : bytes, length 32
        Fingerprint of the task.
    agreement : bytes, length 32
        As in `RoundHeader`.
    incarnation : int
    round, exchange : int
        What the sender is at: the first for which it may still need rows.
    kept : bool
        In the answer to a row: whether it came in time and will be used. False in a question.
    """

    kind: ClassVar[Kind] = Kind.PROGRESS
    task: bytes
    agreement: bytes
    incarnation: int
    round: int
    exchange: int
    kept: bool

    @classmethod
    def from_fields(cls, fields: object, *, limits: Limits) -> Self:
        """Read the fields, or raise `MalformedFrame`."""
        read = Fields(fields, keys=("task", "agreement", "incarnation", "round", "exchange", "kept"))
        return cls(
            task=read.digest("task"),
            agreement=read.digest("agreement"),
            incarnation=read.integer("incarnation"),
            round=read.integer("round"),
            exchange=read.integer("exchange"),
            kept=read.boolean("kept"),
        )

    def to_fields(self) -> Mapping[str, object]:
        """Give the fields, of msgpack's types only."""
        return {
            "task": self.task,
            "agreement": self.agreement,
            "incarnation": self.incarnation,
            "round": self.round,
            "exchange": self.exchange,
            "kept": self.kept,
        }
