"""Work that peers recorded: steps of training, and what merging each one's models did to others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gossipfl.errors import GossipflError
from gossipfl.peer import Home, read_records
from gossipfl.peer.store.recorded_effects import recorded_effects

__all__ = ["RecordedWork", "recorded_work"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordedWork:
    """Work of n peers, by their records.

    Parameters
    ----------
    steps : ndarray
        Steps of training that each one's model has seen at this peer, int64 ``[n]``.
    gave : ndarray, optional
        By how much merging its models lowered others' losses, on average, ``[n]``: NaN if nobody merged one. None
        if no peer measured it (``evaluation.merge_samples``).
    """

    steps: NDArray[np.int64]
    gave: Floats | None


def recorded_work(directories: Sequence[Path]) -> RecordedWork:
    """Read what peers did.

    Parameters
    ----------
    directories : sequence of Path
        Homes of n peers.

    Raises
    ------
    HomeError
        If records cannot be read.
    GossipflError
        If a peer's records have no start.
    """
    homes = [Home(directory) for directory in directories]
    tables = [read_records(home.records) for home in homes]
    number = {_peer_id(table): k for k, table in enumerate(tables)}
    totals, counts = np.zeros(len(homes)), np.zeros(len(homes))
    for home in homes:
        for sender, effects in recorded_effects(home.records).items():
            if sender in number:
                totals[number[sender]] += sum(effects)
                counts[number[sender]] += len(effects)
    return RecordedWork(
        steps=np.array([_steps(table) for table in tables], dtype=np.int64),
        gave=np.where(counts > 0, totals / np.maximum(counts, 1), np.nan) if counts.any() else None,
    )


def _peer_id(table: pl.DataFrame) -> str:
    starts = table.filter(pl.col("kind") == "start")
    if not len(starts):
        raise GossipflError("the records of a peer have no start")
    return str(starts["peer"][0])


def _steps(table: pl.DataFrame) -> int:
    """The step counter as it was last."""
    if "step" not in table.columns:
        return 0
    known = table["step"].drop_nulls()
    return int(known[-1]) if len(known) else 0
