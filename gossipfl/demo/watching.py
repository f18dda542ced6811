"""Looking at the peers of a demo from outside: only at what each writes into its own directory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gossipfl.demo.processes import PeerProcess
from gossipfl.errors import HomeError
from gossipfl.peer.store.checkpoint import read_row

__all__ = ["Observation", "consensus_distance", "observe"]


@dataclass(frozen=True, kw_only=True)
class Observation:
    """All peers of a demo at about one instant.

    Parameters
    ----------
    seconds : float
        Since the demo began.
    statuses : tuple
        For each peer what it last said of itself (see `PeerStatus.to_dict`), or None.
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
        return [
            status["age"] if status is not None else 0
            for status, running in zip(self.statuses, self.running, strict=True)
            if running
        ]

    @property
    def up(self) -> int:
        """How many peers run and have spoken; to have a process is not to be there."""
        pairs = zip(self.statuses, self.running, strict=True)
        return sum(running and status is not None for status, running in pairs)

    @property
    def all_up(self) -> bool:
        """Whether every peer that should run has spoken."""
        return self.up == sum(self.running)

    def total(self, counter: str) -> int:
        """A network counter, summed over the peers' present starts."""
        return sum(status["network"][counter] for status in self.statuses if status is not None)


def observe(processes: Sequence[PeerProcess], *, began: float) -> Observation:
    """Look at all peers now; ``began`` is on the clock of `time.monotonic`."""
    return Observation(
        seconds=time.monotonic() - began,
        statuses=tuple(process.status() for process in processes),
        running=tuple(process.is_up for process in processes),
        consensus_distance=consensus_distance([process for process in processes if process.is_up]),
    )


def consensus_distance(processes: Sequence[PeerProcess]) -> float | None:
    """Mean squared distance of the peers' checkpointed models from their mean.

    ``(1/n) Σ ‖x_i − x̄‖²`` (Koloskova et al. 2020, Eq. 12 without its expectation), over whole rows.

    Returns
    -------
    float or None
        None if fewer than two peers have a checkpoint.
    """
    rows = []
    for process in processes:
        if process.home.checkpoint.exists():
            try:
                rows.append(read_row(process.home.checkpoint)[0])
            except HomeError:  # replaced between the look and the read: the next look will do
                continue
    if len(rows) < 2:
        return None
    stacked = torch.stack(rows).double()
    return float(((stacked - stacked.mean(dim=0)) ** 2).sum(dim=1).mean())
