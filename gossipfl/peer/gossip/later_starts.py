"""Later starts of a peer than its own, as neighbours have heard of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable

import trio

from gossipfl.recent import RecentMap

__all__ = ["LaterStarts"]

logger = logging.getLogger(__name__)

_REMEMBERED = 64
_PATIENCE_SECONDS = 60.0
_LOOK_SECONDS = 1.0
#: A century in milliseconds: no honest clock is further ahead, and a liar needs many lies to exhaust 63 bits.
_FURTHEST = 2**42


class LaterStarts:
    """Makes a peer whose incarnation lies behind start again beyond what its neighbours have heard.

    That is so after a home was restored from a copy whose clock, or this one's, is wrong; and for ever while two
    copies of one identity run. Neighbours may lie, so half of those that answered must say so, and each time
    the peer waits twice as long as before.

    Parameters
    ----------
    incarnation : int
        Of this start.
    starts_before : int
        How often the process has started again for this reason.
    start_again : callable
        Takes the incarnation to go beyond; returns if that is not possible now.
    """

    def __init__(
        self, *, incarnation: int, starts_before: int, start_again: Callable[[int], Awaitable[None]]
    ) -> None:
        self._incarnation = incarnation
        self._starts_before = starts_before
        self._start_again = start_again
        self._heard: RecentMap[str, int] = RecentMap(_REMEMBERED)
        self._changed = trio.Event()

    def is_later(self, neighbour: str, incarnation: int | None) -> bool:
        """Note a neighbour's answer, with the incarnation it names if it does; say whether that is a later one."""
        furthest = max(self._incarnation, int(1000 * time.time())) + _FURTHEST
        later = incarnation is not None and self._incarnation < incarnation <= furthest
        self._heard[neighbour] = incarnation if later and incarnation is not None else 0
        if later:
            self._changed.set()
        return later

    @property
    def newest(self) -> int:
        """Latest start of this peer that at least half of its neighbours have heard of; 0 if there is none."""
        later = [each for each in self._heard.values() if each]
        return max(later) if 2 * len(later) >= max(1, len(self._heard)) else 0

    async def go_beyond(self) -> None:
        """Start again once neighbours have heard of a later start, until cancelled."""
        if self._starts_before:
            await trio.sleep(_PATIENCE_SECONDS * 2 ** (self._starts_before - 1))
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            newest = self.newest
            if not newest:
                continue
            logger.warning(
                "neighbours have heard incarnation %d of this peer, and this is %d: its home was restored from a "
                "copy, or its clock was wrong%s. It starts again beyond that",
                newest,
                self._incarnation,
                "; or another copy of it is running, which must be stopped" if self._starts_before else "",
            )
            await self._start_again(newest)
            await trio.sleep(_LOOK_SECONDS)
