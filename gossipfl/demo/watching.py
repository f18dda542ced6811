"""Observation of a demo's peers from outside: only what each writes into its own directory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gossipfl.consensus import consensus_distance
from gossipfl.demo.processes import PeerProcess
from gossipfl.errors import HomeError
from gossipfl.peer.store.checkpoint import read_row

__all__ = ["Observation", "checkpoint_distance", "observe"]


@dataclass(frozen=True, kw_only=True)
class Observation:
    """All peers of a demo at about one instant.

    Parameters
    ----------
    seconds : float
        Since the demo began.
    statuses : tuple
        For each peer its last status report (see `PeerStatus.to_dict`), or None.
    running : tuple of bool
    consensus_distance : float or None
        Over the newest checkpoints; None with fewer than two.
    """

    seconds: float
    statuses: tuple[dict[str, Any] | None, ...]
    running: tuple[bool, ...]
    consensus_distance: float | None

    def value(self, peer: int, metric: str) -> float | None:
        """A metric of one peer, None if it does not run or has not evaluated its model yet."""
        status = self.statuses[peer]
        if status is None or not self.running[peer]:
            return None
        value = status["metrics"].get(metric)
        return None if value is None else float(value)

    def values(self, metric: str) -> list[float]:
        """A metric of each running peer that has evaluated its model."""
        values = (self.value(peer, metric) for peer in range(len(self.statuses)))
        return [value for value in values if value is not None]

    @property
    def ages(self) -> list[int]:
        """Ages of the running peers' models; 0 for those not up yet."""
        return [0 if status is None else status["age"] for status in self._reports]

    @property
    def up(self) -> int:
        """Number of peers that run and have reported; a process alone does not count."""
        return sum(status is not None for status in self._reports)

    @property
    def all_up(self) -> bool:
        """Whether every peer that should run has reported."""
        return None not in self._reports

    @property
    def _reports(self) -> list[dict[str, Any] | None]:
        """Status reports of the running peers."""
        return [status for status, runs in zip(self.statuses, self.running, strict=True) if runs]

    def total(self, counter: str) -> int:
        """A network counter, summed over the peers' present starts."""
        return sum(status["network"][counter] for status in self.statuses if status is not None)


def observe(processes: Sequence[PeerProcess], *, began: float, shared_size: int) -> Observation:
    """Look at all peers now.

    Parameters
    ----------
    processes : sequence of PeerProcess
    began : float
        When the demo began, on the clock of `time.monotonic`.
    shared_size : int
        Length of the shared part of a row.
    """
    return Observation(
        seconds=time.monotonic() - began,
        statuses=tuple(process.status() for process in processes),
        running=tuple(process.is_up for process in processes),
        consensus_distance=checkpoint_distance([p for p in processes if p.is_up], shared_size),
    )


def checkpoint_distance(processes: Sequence[PeerProcess], shared_size: int) -> float | None:
    """Consensus distance of the peers' checkpointed models; None if fewer than two have a checkpoint."""
    rows = []
    for process in processes:
        if process.home.checkpoint.exists():
            try:
                rows.append(read_row(process.home.checkpoint)[0])
            except HomeError:  # replaced between the look and the read: the next look will do
                continue
    return consensus_distance(torch.stack(rows), shared_size) if len(rows) >= 2 else None
