"""One masked sum: its receiver, the neighbours whose rows it adds up, and how many may drop out."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from gossipfl.errors import SummandsExposed
from gossipfl.membership.codec import integer

__all__ = ["FEWEST_SUMMANDS", "MOST_SUMMANDS", "Session", "threshold_of"]

FEWEST_SUMMANDS: Final = 3
MOST_SUMMANDS: Final = 128
_PREFIX: Final = b"gossipfl sum session 1\n"


def threshold_of(count: int) -> int:
    """⌈2k/3⌉: how many of k neighbours must stay until the end.

    Two different lists of survivors need as many signatures each, so a lying receiver needs 2t − k neighbours
    that lie for it.

    Raises
    ------
    SummandsExposed
        The count is below 3 or above 128.
    """
    if not FEWEST_SUMMANDS <= count <= MOST_SUMMANDS:
        raise SummandsExposed(
            "a masked sum cannot be had of so few neighbours, or so many",
            expected=f"{FEWEST_SUMMANDS} to {MOST_SUMMANDS} neighbours: a sum of one is the summand, and of two "
            "tells each of them the other's",
            got=count,
            remedy="Choose a topology in which every member has at least 3 neighbours in every round.",
        )
    return -(-2 * count // 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A masked sum in one exchange of one round at one receiver.

    Parameters
    ----------
    agreement : bytes, length 32
        Digest of everything that the members have in common.
    round, exchange : int
    receiver : int
        Number of the member that learns the sum.
    neighbours : tuple of int
        Numbers of the members whose rows it adds up, in increasing order.

    Attributes
    ----------
    id : bytes, length 32
        Its digest, which every key and signature is bound to.
    threshold : int
        How many neighbours must stay until the end.

    Raises
    ------
    SummandsExposed
        There are fewer than 3 neighbours, or too many.
    """

    agreement: bytes
    round: int
    exchange: int
    receiver: int
    neighbours: tuple[int, ...]
    id: bytes = field(init=False, repr=False)
    threshold: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "threshold", threshold_of(len(self.neighbours)))
        content = b"".join(
            (
                _PREFIX,
                self.agreement,
                *(integer(each, 8) for each in (self.round, self.exchange, self.receiver)),
                *(integer(each, 4) for each in self.neighbours),
            )
        )
        object.__setattr__(self, "id", hashlib.sha256(content).digest())

    def place(self, number: int) -> int:
        """Place of a neighbour, which is the number of its shares."""
        return self.neighbours.index(number)

    def without(self, present: Collection[int]) -> tuple[int, ...]:
        """Neighbours that are not among those present."""
        return tuple(each for each in self.neighbours if each not in present)
