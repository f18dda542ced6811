"""Masked counts of rounds: signed, of bounded size, and of one plan and network."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gossipfl.errors import MalformedStatement
from gossipfl.wire.signed_statements import Fields, opened, signed, signed_by

__all__ = ["MOST_COUNTS", "CountsStatement", "MaskedCounts", "read_masked_counts", "write_masked_counts"]

MOST_COUNTS: Final = 8_000
"""Most counts of a round, so that those of two rounds fit into a statement."""

_HEADER: Final = struct.Struct("<32s32s32sQ32sB")
_COUNTS: Final = struct.Struct("<32sH")
_PREFIX: Final = b"gossipfl masked counts 1\n"
_MOST_ROUNDS: Final = 100


@dataclass(frozen=True, slots=True, eq=False)
class MaskedCounts:
    """A member's masked counts of one round.

    Parameters
    ----------
    session : bytes, length 32
        Digest of the keys of all members, and of what this round and all before it count.
    row : ndarray, uint32 ``[counts]``
    """

    session: bytes
    row: NDArray[np.uint32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CountsStatement:
    """One member's key for masks, and its masked counts of its last round and of the one before.

    Members that are a round behind need the one before; nobody can be two behind, as each round takes
    everybody's counts.

    Parameters
    ----------
    key : bytes, length 32
        Its Ed25519 public key.
    network, plan : bytes, length 32
        Id of the network, zeros if members have no certificates; and digest of the plan.
    sequence : int
        Higher in each new statement of a member.
    public : bytes, length 32
        X25519 key, of one run.
    round : int
        Of its last counts; 0 before it has told any.
    counts : tuple of MaskedCounts
        Of its last rounds, the last one at the end: as many as ``min(round, 2)``.
    """

    key: bytes
    network: bytes
    plan: bytes
    sequence: int
    public: bytes
    round: int = 0
    counts: tuple[MaskedCounts, ...] = field(default=(), repr=False)

    def of_round(self, number: int) -> MaskedCounts | None:
        """Return the counts of a round, if the statement has them."""
        place = number - self.round - 1
        return self.counts[place] if -len(self.counts) <= place < 0 else None


def write_masked_counts(statement: CountsStatement, *, sign: Callable[[bytes], bytes]) -> bytes:
    """Encode and sign a statement.

    Raises
    ------
    MalformedStatement
        It would be too long.
    """
    head = _HEADER.pack(
        statement.key,
        statement.network,
        statement.plan,
        statement.sequence,
        statement.public,
        statement.round,
    )
    parts = [head]
    for each in statement.counts:
        parts += [_COUNTS.pack(each.session, len(each.row)), each.row.astype("<u4").tobytes()]
    return signed(b"".join(parts), prefix=_PREFIX, sign=sign)


def read_masked_counts(data: bytes, *, plan: bytes, network: bytes) -> CountsStatement:
    """Return a statement whose signature is right.

    Raises
    ------
    MalformedStatement
        It is not one, is of another plan or network, or is not signed by its member.
    """
    (key, _, _, sequence, public, number), fields = opened(data, header=_HEADER, digest=plan, network=network)
    signed_by(key, data, prefix=_PREFIX)
    if number > _MOST_ROUNDS:
        raise MalformedStatement(
            "counts are of a round that there is not", expected=f"at most {_MOST_ROUNDS}"
        )
    counts = tuple(_counts(fields) for _ in range(min(number, 2)))
    if fields.left:
        raise MalformedStatement("counts go on behind their end")
    return CountsStatement(
        key=key,
        network=network,
        plan=plan,
        sequence=sequence,
        public=public,
        round=number,
        counts=counts,
    )


def _counts(fields: Fields) -> MaskedCounts:
    session, size = _COUNTS.unpack(fields.take(_COUNTS.size))
    if size > MOST_COUNTS:
        raise MalformedStatement("a round has too many counts", expected=f"at most {MOST_COUNTS}", got=size)
    return MaskedCounts(session, np.frombuffer(fields.take(4 * size), dtype="<u4"))
