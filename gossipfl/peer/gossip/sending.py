"""Versions of a peer's model that are being sent, each of which holds its memory until it is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import trio

from gossipfl.peer.gossip.events import State
from gossipfl.wire import Frame

__all__ = ["VersionsSent"]


@dataclass(slots=True)
class _Sending:
    state: State
    since: float
    frames: int = 0


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

    def choose(self, newest: State) -> State | None:
        """Return the version to send now.

        It is the newest; where memory is too short for one more, the last of those that are being sent; None if
        that one is too old.
        """
        others = [each for each in self._sending.values() if each.state.event != newest.event]
        if len(others) == len(self._sending) and others:
            size = newest.nodes.rows.nbytes
            if size * len(others) > max(self._limit - size, 0):
                last = max(others, key=lambda each: each.state.event)
                return last.state if trio.current_time() < last.since + self._longest else None
        return newest

    def add(self, state: State, frame: Frame) -> None:
        """Hold a version until a frame of it is released."""
        sending = self._sending.setdefault(state.event, _Sending(state, trio.current_time()))
        sending.frames += 1
        frame.on_release = partial(self._released, state.event)

    def _released(self, event: int) -> None:
        sending = self._sending[event]
        sending.frames -= 1
        if not sending.frames:
            del self._sending[event]
