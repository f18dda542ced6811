"""Departures from this device: bytes, when, and to whom; of bounded size, without a word of what they hold."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import trio

from gossipfl.network import NetworkCounters

__all__ = ["Departures"]

_LOOK_SECONDS: Final = 1.0
_MOST: Final = 200
_MOST_DAYS: Final = 31


class Departures:
    """Counts the bytes of frames for each peer, second by second.

    Parameters
    ----------
    counters : NetworkCounters
        Of the host.
    now : callable, optional
        The time in seconds since 1970.
    """

    def __init__(self, counters: NetworkCounters, now: Callable[[], float] = time.time) -> None:
        self._counters = counters
        self._now = now
        self._seen: dict[str, int] = {}
        self._latest: deque[dict[str, Any]] = deque(maxlen=_MOST)
        self._days: dict[str, int] = {}
        self._total = counters.bytes_sent

    def look(self) -> None:
        """Note what has left since the last time."""
        now = self._now()
        for peer_id, traffic in list(self._counters.peers.items()):
            more = traffic.bytes_sent - self._seen.get(peer_id, 0)
            if more > 0:
                self._latest.append({"time": now, "to": peer_id, "bytes": more})
            self._seen[peer_id] = traffic.bytes_sent
        self._seen = {
            peer_id: sent for peer_id, sent in self._seen.items() if peer_id in self._counters.peers
        }
        day = datetime.fromtimestamp(now).astimezone().date().isoformat()
        self._days[day] = self._days.get(day, 0) + self._counters.bytes_sent - self._total
        self._total = self._counters.bytes_sent
        for old in sorted(self._days)[:-_MOST_DAYS]:
            del self._days[old]

    async def run(self) -> None:
        """Look every second, until cancelled."""
        while True:
            self.look()
            await trio.sleep(_LOOK_SECONDS)

    def to_values(self) -> Mapping[str, Any]:
        """Return plain values: ``latest``, the newest first, and ``days``, the bytes of each day of this start."""
        return {"latest": list(self._latest)[::-1], "days": dict(self._days)}
