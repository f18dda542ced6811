"""Traffic, updates and presence of peers over time, from their records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gossipfl.peer import read_records
from sims.calibration.observations import observe
from sims.replay.lives import Life, RecordedPeer

__all__ = ["Traffic", "traffic_of", "traffic_of_rounds"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Traffic:
    """Events of a network of peers, times in seconds since its start."""

    sent: Floats
    """When each exchange was over, sorted ``[k]``."""
    models: NDArray[np.int64]
    """How many models exchanges had carried by then, ``[k]``."""
    failed: Floats
    """When each failed exchange was over, sorted."""
    updates: Floats
    """Times at which each model was absorbed or a training took place, sorted."""
    sessions: tuple[tuple[tuple[float, float], ...], ...]
    """For each node, the intervals during which it was up; one that was up almost to the end counts as up to the
    end.
    """
    ages: tuple[tuple[Floats, NDArray[np.int64]], ...]
    """For each node, times of its events and ages after them."""
    bytes: NDArray[np.int64]
    """Bytes of their rows by then, ``[k]``."""
    rounds: Floats | None = None
    """When each round of any of them was over, sorted, if they learn in rounds."""

    def online(self, seconds: float) -> NDArray[np.bool_]:
        """Nodes that are up, bool ``[N]``."""
        return np.array([any(start <= seconds <= end for start, end in own) for own in self.sessions])

    def mean_age(self, seconds: float) -> float:
        """Mean age of the models; NaN before the first event."""
        known = [
            ages[index - 1]
            for times, ages in self.ages
            if (index := int(np.searchsorted(times, seconds, side="right")))
        ]
        return float(np.mean(known)) if known else float("nan")

    def at(self, seconds: float, period: float) -> dict[str, Any]:
        """Totals so far, under the names of the simulator's records."""
        exchanges = int(np.searchsorted(self.sent, seconds, side="right"))
        models, sent = (int(total[exchanges - 1]) if exchanges else 0 for total in (self.models, self.bytes))
        number = seconds / period
        if self.rounds is not None:
            number = int(np.searchsorted(self.rounds, seconds, side="right")) / len(self.sessions)
        return {
            "round": float(number),
            "seconds": float(seconds),
            "online": int(self.online(seconds).sum()),
            "messages": models,
            "requests": 0,
            "lost": int(np.searchsorted(self.failed, seconds, side="right")),
            "unreachable": 0,
            "bytes": sent,
            "updates": int(np.searchsorted(self.updates, seconds, side="right")),
        }


def traffic_of(peers: Sequence[RecordedPeer], *, bytes_each: int) -> Traffic:
    """Gather the traffic of a network.

    An exchange that succeeded carried a model, and another one back if the peer's mode is push-pull; one that
    failed, one model in vain, or none if the peer asks only.

    Parameters
    ----------
    peers : sequence of RecordedPeer
    bytes_each : int
        Bytes of one model as it is sent.
    """
    lives = [list(peer.lives.values()) for peer in peers]
    everyone = [life for own in lives for life in own]
    origin = min(life.started for life in everyone)
    exchanges = sorted(
        (exchange.time - origin, _models(life, exchange.outcome), exchange.outcome != "ok")
        for life in everyone
        for exchange in life.exchanges
    )
    sent = np.array([time for time, _, _ in exchanges], dtype=np.float64)
    updates = sorted(event.time - origin for life in everyone for event in life.events)
    models = np.cumsum([models for _, models, _ in exchanges], dtype=np.int64)
    return Traffic(
        sent=sent,
        models=models,
        failed=np.array([time for time, _, failed in exchanges if failed], dtype=np.float64),
        updates=np.array(updates, dtype=np.float64),
        sessions=_sessions(peers),
        ages=tuple(_ages(own, origin) for own in lives),
        bytes=models * bytes_each,
    )


def traffic_of_rounds(peers: Sequence[RecordedPeer], *, row_bytes: Callable[[int], int]) -> Traffic:
    """Gather the traffic of a network that learns in rounds: rows that members took from one another.

    Parameters
    ----------
    peers : sequence of RecordedPeer
    row_bytes : callable
        Returns the bytes of a row as it is sent in an exchange of this number.
    """
    origin = min(life.started for peer in peers for life in peer.lives.values())
    tables = [read_records(peer.home.records) for peer in peers]
    mixes = sorted(
        (
            record["time"] - origin,
            len(record["members"] or ()),
            len(record["missing"] or ()),
            record["exchange"],
        )
        for table in tables
        for record in table.filter(pl.col("kind") == "mix").to_dicts()
    )
    done = [table.filter(pl.col("kind") == "round").sort("time") for table in tables]
    times = [own["time"].to_numpy().astype(np.float64) - origin for own in done]
    over = np.sort(np.concatenate(times))
    return Traffic(
        sent=np.array([time for time, *_ in mixes], dtype=np.float64),
        models=np.cumsum([taken for _, taken, _, _ in mixes], dtype=np.int64),
        bytes=np.cumsum([taken * row_bytes(exchange) for _, taken, _, exchange in mixes], dtype=np.int64),
        failed=np.array([time for time, _, missing, _ in mixes for _ in range(missing)], dtype=np.float64),
        updates=over,
        sessions=_sessions(peers),
        ages=tuple(
            (own, table["age"].to_numpy().astype(np.int64)) for own, table in zip(times, done, strict=True)
        ),
        rounds=over,
    )


def _sessions(peers: Sequence[RecordedPeer]) -> tuple[tuple[tuple[float, float], ...], ...]:
    found: list[list[tuple[float, float]]] = [[] for _ in peers]
    for session in observe(peers).sessions:
        found[session.node].append((session.start, session.end))
    return tuple(tuple(own) for own in found)


def _models(life: Life, outcome: str) -> int:
    sends, asks = life.settings.exchange.mode != "pull", life.settings.exchange.mode != "push"
    return sends + (asks and outcome == "ok")


def _ages(lives: Sequence[Life], origin: float) -> tuple[Floats, NDArray[np.int64]]:
    events = sorted((event.time - origin, event.age) for life in lives for event in life.events)
    times = np.array([time for time, _ in events], dtype=np.float64)
    return times, np.array([age for _, age in events], dtype=np.int64)
