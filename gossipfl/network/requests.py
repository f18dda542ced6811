"""Requests to neighbours, and the attempts to continue them over other connections."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from gossipfl.errors import ExchangeFailed
from gossipfl.network.addresses import Hearsay
from gossipfl.network.lane import Transfer
from gossipfl.network.pace import Progress
from gossipfl.network.pool import Neighbour
from gossipfl.network.protocol import REPLIES
from gossipfl.network.receiving import Reception
from gossipfl.wire import Frame, Kind

__all__ = ["ROWS_OF_MODELS", "Addresses", "Broken", "Renew", "Request", "Rows", "Superseded", "Unanswered"]

Addresses = Sequence[str | Hearsay]

Renew = Callable[[float], Awaitable[Frame | None]]
"""Returns another frame if that is worth more than the given share of the frame's bytes, which remains."""

ROWS_OF_MODELS: Final = frozenset({Kind.MODEL, Kind.PART})
_MOST_FAILURES: Final = 6


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of an exchange: the one sent, and the one that may answer it."""

    progress: Progress
    sent: Transfer
    answered: Transfer


@dataclass(slots=True, eq=False)
class Request:
    """What is to be exchanged with whom; and the attempts to continue it without progress."""

    neighbour: Neighbour
    peer_id: str
    addresses: Addresses
    frame: Frame
    rows: Rows
    renew: Renew | None
    asks: bool
    answer: Reception | None = None
    """A large answer whose connection broke."""
    reached: int = 0
    failures: int = 0

    @property
    def replies(self) -> frozenset[Kind]:
        """The kinds of frames that may answer; no row that was not asked for, since it has no memory."""
        others = REPLIES[self.frame.kind] - ({Kind.CLEARANCE} if self.frame.is_offered else set())
        return others if self.asks else others - ROWS_OF_MODELS

    def fail(self, what: str, error: Exception) -> None:
        """Count an attempt; raise `ExchangeFailed` if there have been enough."""
        self.failures += 1
        if self.failures == _MOST_FAILURES:
            raise ExchangeFailed(what, got=error) from error

    def advance(self, chunk: int) -> None:
        """Begin to count anew if the other side has more than before."""
        if chunk > self.reached:
            self.reached, self.failures = chunk, 0

    def replace(self, frame: Frame) -> None:
        """Send another frame instead, to its end."""
        self.frame, self.renew, self.reached, self.failures = frame, None, 0, 0


class Unanswered(Exception):
    """An idle stream turned out to have ended: not a byte of a reply arrived."""


class Broken(Exception):
    """The connection broke within a frame that is large enough to be continued."""


class Superseded(Exception):
    """What remains of a frame is worth less than another one."""

    def __init__(self, frame: Frame) -> None:
        super().__init__()
        self.frame = frame
