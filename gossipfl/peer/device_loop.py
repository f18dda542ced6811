"""The loop of a keyboard's device, to be seen: fetch, improve, condense, send, merge; and what has left it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import trio

from gossipfl.peer.departures import Departures
from gossipfl.peer.loop_text import loop_lines
from gossipfl.peer.permission import Permission

__all__ = ["DeviceLoop"]

logger = logging.getLogger(__name__)

_LOG_SECONDS: Final = 600.0


@dataclass(kw_only=True, eq=False)
class DeviceLoop:
    """What the five parts of the loop have done in this start of a peer.

    Parameters
    ----------
    done : callable
        Returns for each part but condensing how often and when it was done, and with whom: see `Activity.loop`.
    condensed : mapping
        How models are condensed: ``codec``, ``bytes`` and ``whole``, the bytes without it.
    departures : Departures
    permission : callable
        Returns what the learner may do now.
    """

    done: Callable[[], Mapping[str, Mapping[str, Any]]]
    condensed: Mapping[str, Any]
    departures: Departures
    permission: Callable[[], Permission]

    def to_values(self, *, latest: int = 1) -> dict[str, Any]:
        """Return plain values, without a word: ``loop``, ``condensed``, and ``left``, with so many departures."""
        left = self.departures.to_values()
        return {
            "loop": dict(self.done()),
            "condensed": dict(self.condensed),
            "left": {**left, "latest": left["latest"][:latest]},
        }

    async def run(self) -> None:
        """Count what leaves the device, and log the loop now and then, until cancelled; and once more then."""
        logged_at = trio.current_time()
        try:
            while True:
                await self.departures.step()
                if trio.current_time() >= logged_at + _LOG_SECONDS:
                    logged_at = trio.current_time()
                    self._log()
        finally:
            self.departures.look()
            self.departures.save()
            self._log()

    def _log(self) -> None:
        values = {**self.to_values(), "trains": self.permission().trains}
        logger.info("%s", "; ".join(f"{name}: {text}" for name, text in loop_lines(values)))
