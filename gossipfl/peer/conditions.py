"""Conditions that a peer's operator should know about, for the log and the status."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import trio

__all__ = ["Conditions", "note_clock_behind", "watch_clock"]

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_JUMP_SECONDS: Final = 5.0
_BEHIND_SECONDS: Final = 60.0
_REMEMBER_JUMP_SECONDS: Final = 3600.0


class _Held(NamedTuple):
    since: float
    text: str
    until: float


@dataclass(slots=True)
class Conditions:
    """A peer's unusual conditions, by name, with their beginning and description.

    Names are ``disk``, ``records``, ``alone``, ``clock``, ``restored``, ``copy``, ``paused``, ``policy``,
    ``readings``, ``relay``, ``privacy``, ``typing``, ``sums``, and for what keeps peers from admitting each
    other ``membership``, ``charter``, ``allow`` and ``refused``.

    Parameters
    ----------
    clock : callable, optional
        Returns seconds, of a clock that does not jump.
    """

    clock: Callable[[], float] = time.monotonic
    _held: dict[str, _Held] = field(default_factory=dict)

    def note(self, name: str, text: str, *, seconds: float = math.inf) -> None:
        """Record a condition; a second time replaces its text, and when it ends.

        Parameters
        ----------
        seconds : float, optional
            Time after which it ends unless it is noted again.
        """
        self._expire()
        since = self._held[name].since if name in self._held else time.time()
        self._held[name] = _Held(since, text, self.clock() + seconds)

    def clear(self, name: str) -> None:
        """Record that a condition has ended."""
        self._held.pop(name, None)

    def to_values(self) -> list[dict[str, Any]]:
        """Return plain values: ``name``, ``since`` in seconds since 1970, ``text``."""
        self._expire()
        return [{"name": name, "since": each.since, "text": each.text} for name, each in self._held.items()]

    def _expire(self) -> None:
        now = self.clock()
        self._held = {name: each for name, each in self._held.items() if each.until > now}


def note_clock_behind(conditions: Conditions, incarnation: int) -> None:
    """Warn if the clock is behind the number of this start, which exceeds those of all earlier starts."""
    behind = incarnation / 1000 - time.time()
    if behind > _BEHIND_SECONDS:
        text = f"the clock is {behind:.0f} s behind that of an earlier start of this peer"
        logger.warning("%s", text)
        conditions.note("clock", text)


async def watch_clock(
    conditions: Conditions,
    record: Callable[[Mapping[str, Any]], None],
    clock: Callable[[], float] = time.time,
) -> None:
    """Report clock changes and machine sleep, until cancelled; learning does not depend on either."""
    offset, jumped_at = clock() - trio.current_time(), float("inf")
    while True:
        await trio.sleep(_LOOK_SECONDS)
        now = trio.current_time()
        jump, offset = clock() - now - offset, clock() - now
        if abs(jump) >= _JUMP_SECONDS:
            jumped_at = now
            text = f"the clock went {'forward' if jump > 0 else 'back'} by {abs(jump):.0f} s"
            logger.warning("%s%s", text, ", or the machine slept" if jump > 0 else "")
            record({"kind": "clock_jump", "jump_seconds": round(jump, 3)})
            conditions.note("clock", text)
        elif now - jumped_at > _REMEMBER_JUMP_SECONDS:
            conditions.clear("clock")
