"""Departures from this device: bytes, when, and to whom; of bounded size, without a word of what they hold.

The bytes of each day are kept in the home, so that a day's sum has all starts of the peer in it.
"""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import trio

from gossipfl.files import write_atomically
from gossipfl.network import NetworkCounters
from topology.parsing import json_of

__all__ = ["Departures"]

_LOOK_SECONDS: Final = 1.0
_SAVE_SECONDS: Final = 10.0
_MOST: Final = 200
_MOST_DAYS: Final = 31
_MOST_BYTES: Final = 4096


class Departures:
    """Counts the bytes of frames for each peer, second by second.

    Parameters
    ----------
    counters : NetworkCounters
        Of the host.
    path : Path, optional
        Where the bytes of each day are kept. What cannot be read there is forgotten.
    now : callable, optional
        The time in seconds since 1970.
    """

    def __init__(
        self, counters: NetworkCounters, *, path: Path | None = None, now: Callable[[], float] = time.time
    ) -> None:
        self._counters = counters
        self._path = path
        self._now = now
        self._saved_at = -math.inf
        self._seen: dict[str, int] = {}
        self._latest: deque[dict[str, Any]] = deque(maxlen=_MOST)
        self._days: dict[str, int] = {} if path is None else _read(path)
        self._kept = sum(self._days.values())
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

    async def step(self) -> None:
        """Wait a second, look, and keep the days now and then."""
        await trio.sleep(_LOOK_SECONDS)
        self.look()
        if sum(self._days.values()) != self._kept and self._now() >= self._saved_at + _SAVE_SECONDS:
            await trio.to_thread.run_sync(self.save)

    def save(self) -> None:
        """Keep the bytes of each day, if there is room."""
        self._saved_at, self._kept = self._now(), sum(self._days.values())
        if self._path is not None:
            with suppress(OSError):
                write_atomically(self._path, json.dumps({"days": self._days}).encode())

    def to_values(self) -> Mapping[str, Any]:
        """Return plain values: ``latest``, the newest first, and ``days``, the bytes of each day."""
        return {"latest": list(self._latest)[::-1], "days": dict(self._days)}


def _read(path: Path) -> dict[str, int]:
    try:
        found = json_of(path.read_bytes()[:_MOST_BYTES])["days"]
        days = {date.fromisoformat(day).isoformat(): sent for day, sent in found.items()}
    except (OSError, ValueError, OverflowError, LookupError, TypeError, AttributeError):
        return {}
    if not all(type(sent) is int and sent >= 0 for sent in days.values()):
        return {}
    return {day: days[day] for day in sorted(days)[-_MOST_DAYS:]}
