"""Later starts of this peer that neighbours know of, and restarting beyond them."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from gossipfl.errors import IdentityInUseTwice
from gossipfl.peer.gossip.doubles import REMINDER_SECONDS, STOP_ONE_COPY
from gossipfl.recent import RecentMap

__all__ = ["LaterStarts"]

logger = logging.getLogger(__name__)

_REMEMBERED = 64
_PATIENCE_SECONDS = 60.0
_LOOK_SECONDS = 1.0
#: A century in milliseconds: no honest clock is further ahead, and a liar would need many lies to exhaust 63 bits.
_FURTHEST = 2**42


@dataclass(kw_only=True, eq=False)
class LaterStarts:
    """Restarts a peer whose incarnation is behind the one that its neighbours know.

    This happens after a home was restored from a copy while a clock was wrong, and permanently while two copies
    of one identity run: then a neighbour that has accepted this start hears a later one, or one is heard of whose
    number, a time, lies between this start and now. Since neighbours may lie, half of those that answered must
    agree, and each restart takes twice as long to happen as the previous one.

    Parameters
    ----------
    incarnation : int
        Number of this start.
    starts_before : int
        Earlier restarts in this process for this reason.
    start_again : callable
        Called with the incarnation to exceed; returns if restarting is impossible now.
    report_double : callable
        Called with an error when another copy of this peer seems to be running.
    """

    incarnation: int
    starts_before: int
    start_again: Callable[[int], Awaitable[None]]
    report_double: Callable[[IdentityInUseTwice], None]

    def __post_init__(self) -> None:
        self._heard: RecentMap[str, int] = RecentMap(_REMEMBERED)
        self._changed = trio.Event()
        self._is_copied = self.starts_before > 0
        self._reported_at = -math.inf

    def is_later(self, neighbour: str, incarnation: int | None) -> bool:
        """Record the incarnation that a neighbour's answer names, if any; return whether it is a later one."""
        now = int(1000 * time.time())
        named = incarnation or 0
        later = self.incarnation < named <= max(self.incarnation, now) + _FURTHEST
        if later:  # by a neighbour that accepted this start until now, or between this start and now
            self._is_copied |= self._heard.get(neighbour) == 0 or named <= now
        self._heard[neighbour] = named if later else 0
        if later:
            self._changed.set()
            self._report_copy()
        return later

    @property
    def newest(self) -> int:
        """Latest start of this peer if at least half of its neighbours know of a later one; else 0."""
        later = [each for each in self._heard.values() if each]
        return max(later) if 2 * len(later) >= max(1, len(self._heard)) else 0

    def _report_copy(self) -> None:
        now = trio.current_time()
        if not self.newest or not self._is_copied or now - self._reported_at < REMINDER_SECONDS:
            return
        self._reported_at = now
        self.report_double(
            IdentityInUseTwice(
                "another peer uses this peer's identity",
                expected=f"no later start than this peer's, {self.incarnation}",
                got=f"neighbours that hear from start {self.newest}",
                remedy=STOP_ONE_COPY,
            )
        )

    async def go_beyond(self) -> None:
        """Restart once neighbours know of a later start, until cancelled."""
        if self.starts_before:
            await trio.sleep(_PATIENCE_SECONDS * 2 ** (self.starts_before - 1))
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            newest = self.newest
            if not newest:
                continue
            logger.warning(
                "neighbours know incarnation %d of this peer, but this is %d: its home was restored from a copy, "
                "its clock was wrong, or another copy of it is running. It restarts with a higher number",
                newest,
                self.incarnation,
            )
            await self.start_again(newest)
            await trio.sleep(_LOOK_SECONDS)
