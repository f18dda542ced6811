"""Models of real peers at given times, replayed from their records."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from gossipfl.consensus import consensus_distance
from gossipfl.tasks import Task
from sims.analysis.runs.problem import Problem
from sims.metrics.network_metrics import layer_columns, mean_model_columns, mean_row
from sims.replay.history import history_of
from sims.replay.learning import Learnings
from sims.replay.lives import RecordedPeer, Version
from sims.replay.row_replay import replay_rows

__all__ = ["RetracedModels", "retraced_columns", "retraced_models"]

_LARGEST_BYTES = 2**30


@dataclass(frozen=True, kw_only=True, eq=False)
class RetracedModels:
    """Models of N peers at T moments.

    Parameters
    ----------
    seconds : ndarray
        Since the start of the network, ``[T]``.
    rows : ndarray
        Models, float32 ``[T, N, D]``; zero before a peer's first start.
    ages : ndarray
        Ages, int64 ``[T, N]``.
    present : ndarray
        Which peers had started, bool ``[T, N]``.
    task : Task
        Whose layout the rows have.
    note : str
        Where the models differ from those of the peers in any bit; empty otherwise.
    """

    seconds: NDArray[np.float64]
    rows: NDArray[np.float32]
    ages: NDArray[np.int64]
    present: NDArray[np.bool_]
    task: Task
    note: str


def retraced_models(peers: Sequence[RecordedPeer], seconds: NDArray[np.float64]) -> RetracedModels:
    """Compute the models that peers had at given times.

    Parameters
    ----------
    peers : sequence of RecordedPeer
        All peers of a network.
    seconds : ndarray
        Times since the first peer's start, ascending; fewer are used if models would take more than 1 GiB.

    Raises
    ------
    MissingPeer, TornRecords, OtherTask
        If the records do not determine the models.
    """
    learnings = Learnings(peers)
    first = next(iter(peers[0].lives.values()))
    task = learnings.of(first).task
    size = task.layout.size
    most = max(2, _LARGEST_BYTES // (4 * size * len(peers)))
    if len(seconds) > most:
        seconds = seconds[np.linspace(0, len(seconds) - 1, most).round().astype(np.int64)]
    origin = min(life.started for peer in peers for life in peer.lives.values())
    versions = [[_version_at(peer, origin + moment) for peer in peers] for moment in seconds]
    wanted = {version for row in versions for version in row if version is not None}
    history = history_of(peers, wanted)
    found, _, departure = replay_rows(history, learnings)
    rows = np.zeros((len(seconds), len(peers), size), dtype=np.float32)
    ages = np.zeros(rows.shape[:2], dtype=np.int64)
    present = np.zeros(rows.shape[:2], dtype=bool)
    for t, row in enumerate(versions):
        for i, version in enumerate(row):
            if version is not None:
                rows[t, i], ages[t, i] = found[version].rows[0].numpy(), int(found[version].ages[0])
                present[t, i] = True
    note = ""
    if departure is not None:
        note = (
            f"models computed again from records leave the run at event {departure.number + 1}: another machine, "
            "or another version of torch, rounds otherwise"
        )
    return RetracedModels(seconds=seconds, rows=rows, ages=ages, present=present, task=task, note=note)


def retraced_columns(
    problem: Problem, rows: NDArray[np.float32], among: NDArray[np.bool_]
) -> dict[str, float]:
    """Network-level metrics of the models of all peers, under the names of the simulator's records.

    Parameters
    ----------
    problem : Problem
    rows : ndarray
        Shape ``[N, D]``.
    among : ndarray
        Whose models count, bool ``[N]``.
    """
    every, layout = torch.from_numpy(rows), problem.task.layout
    mean = mean_row(every, among)
    return {
        "consensus_distance": consensus_distance(every, layout.shared_size, among),
        **layer_columns(every, layout, among),
        **mean_model_columns(problem.task, mean, problem.test_inputs, problem.test_targets),
    }


def _version_at(peer: RecordedPeer, time: float) -> Version | None:
    """The version a peer had at a time, seconds since 1970; None before its first start."""
    started = [life for life in peer.lives.values() if life.started <= time]
    if not started:
        return None
    life = started[-1]
    events = bisect_right([event.time for event in life.events], time)
    return Version(life.peer, life.incarnation, life.first + events)
