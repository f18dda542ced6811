"""The part of the model that goes next, drawn for each message."""

from __future__ import annotations

from gossipfl.algorithms import Sharing
from gossipfl.peer.gossip.own_draws import PART, OwnDraws

__all__ = ["PartChoice"]


class PartChoice:
    """Draws a part for each message that this peer does not send in answer.

    Parameters
    ----------
    sharing : Sharing
        Of whole models the only part is 0.
    draws : OwnDraws
    """

    def __init__(self, sharing: Sharing, draws: OwnDraws) -> None:
        self.sharing, self._draws = sharing, draws
        self._messages = 0

    @property
    def next(self) -> int:
        """The part of the next message, the same until that has begun."""
        count = self.sharing.count
        return 0 if count == 1 else self._draws.below(count, PART, self._messages)

    def begin(self) -> None:
        """Count a message: another part is drawn for the one after it."""
        self._messages += 1

    def in_answer(self, part: int) -> int:
        """Return the part of a message that a received part causes: the same part, where parts are fixed."""
        return part if self.sharing.kind == "partitioned" else self.next
