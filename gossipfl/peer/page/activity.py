"""A peer's recent activity: counts, the last events and a short history, all of bounded size."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any, Final

import trio

from gossipfl.peer.status import PeerStatus
from gossipfl.recent import RecentMap

__all__ = ["Activity"]

_MOST_EVENTS: Final = 512
_MOST_SAMPLES: Final = 900
_MOST_PEERS: Final = 1024
_SAMPLE_SECONDS: Final = 1.0
_CHANGES: Final = frozenset({"merge", "adopt", "train", "clock", "round"})
_SHOWN: Final = frozenset({*_CHANGES, "exchange", "refusal", "go_back", "permission"})
_KEPT: Final = ("sender", "neighbour", "outcome", "reason", "age", "seconds", "share", "gate", "round")
_KEPT_OF_PERMISSIONS: Final = ("trains", "merges", "reasons")


class Activity:
    """Counts a peer's records as they are made; they may come from any thread.

    Parameters
    ----------
    record : callable
        Called with each record, after it was counted.

    Attributes
    ----------
    counts : Counter
        Records by kind.
    outcomes : Counter
        Exchanges that this peer started, by outcome.
    refusals : Counter
        Models that the gate refused, by reason.
    exchange_seconds, training_seconds : float
        Time spent on these exchanges, and on merging and training.
    loop : dict of str to dict
        Of each part of the loop (``fetched``, ``improved``, ``sent``, ``merged``), how often it was done, when
        last, and with whom: ``count``, ``time``, None before the first, and ``peer``.
    """

    def __init__(self, record: Callable[[Mapping[str, Any]], None]) -> None:
        self._record = record
        self._lock = threading.Lock()
        self._events: deque[dict[str, Any]] = deque(maxlen=_MOST_EVENTS)
        self._samples: deque[dict[str, Any]] = deque(maxlen=_MOST_SAMPLES)
        self._number = 0
        self._changed_at = time.monotonic()
        self._merges: RecentMap[str, int] = RecentMap(_MOST_PEERS)
        self.counts: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        parts = ("fetched", "improved", "sent", "merged")
        self.loop: dict[str, dict[str, Any]] = {
            part: {"count": 0, "time": None, "peer": None} for part in parts
        }
        self.exchange_seconds = 0.0
        self.training_seconds = 0.0

    def record(self, record: Mapping[str, Any]) -> None:
        """Count a record, and pass it on."""
        with self._lock:
            self._count(record)
        self._record(record)

    def _count(self, record: Mapping[str, Any]) -> None:
        kind = record["kind"]
        self.counts[kind] += 1
        if kind in _CHANGES:
            self._changed_at = time.monotonic()
            self.training_seconds += record.get("seconds", 0.0)
        for part in _parts_done(record):
            other = None if part == "improved" else record.get("neighbour") or record.get("sender")
            self.loop[part] = {"count": self.loop[part]["count"] + 1, "time": time.time(), "peer": other}
        if kind in {"merge", "adopt"}:
            self._merges[record["sender"]] = (self._merges.get(record["sender"]) or 0) + 1
        elif kind == "exchange":
            self.outcomes[record["outcome"]] += 1
            self.exchange_seconds += record["seconds"]
        elif kind == "permission":
            self._changed_at = time.monotonic()  # nothing could change before
        elif kind == "refusal":
            self.refusals[record["reason"]] += 1
        if kind in _SHOWN:
            self._number += 1
            kept = {key: record[key] for key in (*_KEPT, *_KEPT_OF_PERMISSIONS) if key in record}
            self._events.append({"number": self._number, "time": time.time(), "kind": kind, **kept})

    @property
    def seconds_since_change(self) -> float:
        """Time since the model last changed, or since the start."""
        return time.monotonic() - self._changed_at

    def merges_from(self, peer_id: str) -> int:
        """Return how many models of a peer were merged."""
        return self._merges.get(peer_id) or 0

    def events_after(self, number: int) -> list[dict[str, Any]]:
        """Return the last events whose number is higher, oldest first."""
        with self._lock:
            return [event for event in self._events if event["number"] > number]

    def history_after(self, moment: float) -> list[dict[str, Any]]:
        """Return the samples taken after a moment in seconds since 1970."""
        return [sample for sample in self._samples if sample["time"] > moment]

    async def sample_for_ever(self, status: Callable[[], PeerStatus]) -> None:
        """Take a sample of the status every second, until cancelled."""
        while True:
            values = status().to_dict()
            self._samples.append(
                {
                    "time": values["updated"],
                    "age": values["age"],
                    "loss": values["loss"],
                    "metrics": values["metrics"],
                    "bytes_sent": values["network"]["bytes_sent"],
                    "bytes_received": values["network"]["bytes_received"],
                    "merges": self.counts["merge"] + self.counts["adopt"],
                }
            )
            await trio.sleep(_SAMPLE_SECONDS)


def _parts_done(record: Mapping[str, Any]) -> list[str]:
    """Parts of the loop that a record tells of: fetch, improve, send, merge."""
    kind = record["kind"]
    done = ["improved"] if record.get("trained") else []
    if kind in {"merge", "adopt"}:
        done.append("merged")
    elif kind == "exchange" and record["outcome"] == "ok":
        done += ["fetched"] * (record.get("answer_event") is not None) + ["sent"] * bool(record.get("codec"))
    return done
