"""The mailbox of a gossiping peer: received models that wait, and requests to act on the clock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import trio

from gossipfl.peer.gossip.events import Incoming, State

__all__ = ["ClockRequest", "Mailbox", "sorted_into"]


@dataclass(frozen=True, slots=True, eq=False)
class ClockRequest:
    """A request to act on the clock, and the channel for its outcome."""

    outcome: trio.MemorySendChannel[State]


class Mailbox:
    """Models and requests in the order of their arrival.

    Parameters
    ----------
    models : int
        Number of models that may wait. Beyond it, only a newer model of a sender takes the place of its older one.
    replaces : bool
        Whether a model may take the place of an older one, which is lost.
    """

    def __init__(self, *, models: int, replaces: bool) -> None:
        self._most, self._replaces = models, replaces
        self._waiting: deque[Incoming | ClockRequest] = deque()
        self._arrival = trio.Event()

    @property
    def models(self) -> list[Incoming]:
        """The models that wait."""
        return [each for each in self._waiting if isinstance(each, Incoming)]

    def has_room_for(self, sender: str | None = None) -> bool:
        """Whether a model would be accepted: of a sender, or of any."""
        return len(self.models) < self._most or self._older(sender) is not None

    def put(self, incoming: Incoming) -> bool:
        """Add a model, or return False if there is no room."""
        if len(self.models) < self._most:
            self._waiting.append(incoming)
        elif (older := self._older(incoming.sender)) is not None:
            del self._waiting[older]
            self._waiting.append(incoming)
        else:
            return False
        self._arrival.set()
        return True

    def ask(self, request: ClockRequest) -> None:
        """Add a request."""
        self._waiting.append(request)
        self._arrival.set()

    async def take(self) -> Incoming | ClockRequest:
        """Take what has waited longest, once there is something."""
        while not self._waiting:
            self._arrival = trio.Event()
            await self._arrival.wait()
        await trio.lowlevel.checkpoint()
        return self._waiting.popleft()

    def take_nowait(self) -> Incoming | ClockRequest | None:
        """Take what has waited longest, or None if there is nothing."""
        return self._waiting.popleft() if self._waiting else None

    def _older(self, sender: str | None) -> int | None:
        """Place of the first model that one of this sender may replace."""
        if not self._replaces:
            return None
        return next(
            (
                place
                for place, each in enumerate(self._waiting)
                if isinstance(each, Incoming) and each.sender == sender and each.chosen_age is None
            ),
            None,
        )


def sorted_into(batch: list[Incoming], item: Incoming | ClockRequest) -> ClockRequest | None:
    """Put a model into the batch, or return the request to act on the clock, which ends the batch."""
    if isinstance(item, ClockRequest):
        return item
    batch.append(item)
    return None
