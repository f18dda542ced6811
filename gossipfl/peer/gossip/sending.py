"""Versions of a peer's model that are being sent, each of which holds its memory until it is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import trio

from gossipfl.peer.gossip.events import State
from gossipfl.wire import Frame

__all__ = ["VersionsSent"]

#: Versions that slow readers may hold besides, so that one of them keeps nobody else waiting.
_MOST_STALLED: Final = 2


@dataclass(slots=True)
class _Sending:
    state: State
    since: float
    recipients: Counter[str] = field(default_factory=Counter)


class VersionsSent:
    """Versions that frames are being sent of, in limited memory: one besides the newest has room in any case.

    Parameters
    ----------
    limit : int
        Bytes of versions older than the newest.
    longest : float
        Seconds after its first sending in which a version may be sent again.
    """

    def __init__(self, *, limit: int, longest: float) -> None:
        self._limit, self._longest = limit, longest
        self._sending: dict[int, _Sending] = {}

    def choose(self, newest: State, recipient: str) -> State | None:
        """Return the version to send to a peer now.

        It is the newest; where memory is too short for one more, the last of those that are being sent, as long
        as it is not too old. Then the recipients of all of them are slow, and others are sent the newest all the
        same, up to a limit. None beyond it, and for a peer that still reads an old version.
        """
        others = [each for each in self._sending.values() if each.state.event != newest.event]
        if any(recipient in each.recipients and self._is_old(each) for each in others):
            return None
        if len(others) == len(self._sending) and others:
            room = max(self._limit // newest.nodes.rows.nbytes - 1, 0)
            last = max(others, key=lambda each: each.state.event)
            if len(others) > room and not self._is_old(last):
                return last.state
            if len(others) > room + _MOST_STALLED:
                return None
        return newest

    def _is_old(self, sending: _Sending) -> bool:
        return trio.current_time() >= sending.since + self._longest

    def add(self, state: State, frame: Frame, recipient: str) -> None:
        """Hold a version until a frame of it, for a peer, is released."""
        sending = self._sending.setdefault(state.event, _Sending(state, trio.current_time()))
        sending.recipients[recipient] += 1
        frame.on_release = partial(self._released, state.event, recipient)

    def _released(self, event: int, recipient: str) -> None:
        recipients = self._sending[event].recipients
        recipients[recipient] -= 1
        if not recipients[recipient]:
            del recipients[recipient]
        if not recipients:
            del self._sending[event]
