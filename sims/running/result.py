"""The progress of a run, and its outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl
from torch import Tensor

from gossipfl.rows import Layout
from sims.running.memory import MemoryEstimate
from sims.scenario import Scenario

__all__ = ["Progress", "Result"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The progress of a run, told before the start, after every evaluation, and a few times a second between.

    Parameters
    ----------
    rounds, total : float
        Rounds done, and rounds in all.
    evaluation : dict, optional
        The last evaluation, as in the records.
    memory : MemoryEstimate
        What the run needs.

    Examples
    --------
    >>> from sims import run
    >>> seen, small = [], ["population.nodes=32", "stop.rounds=2", "evaluate.every=1"]
    >>> _ = run("digits", overrides=small, on_progress=seen.append)
    >>> seen[0].rounds, seen[-1].total
    (0.0, 2.0)
    """

    rounds: float
    total: float
    evaluation: dict[str, Any] | None
    memory: MemoryEstimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The outcome of a run.

    Parameters
    ----------
    scenario : Scenario
    evaluations : polars.DataFrame
        One row an evaluation.
    nodes : polars.DataFrame, optional
        One row an evaluation and node, with ``evaluate.per_node``.
    rows : Tensor
        All models at the end, ``[N, D]``; none, if they are kept in few bits and ``output.rows`` is false.
    layout : Layout
        What is where in a row: all that may differ between nodes. What is frozen in all alike is in every new
        module, so ``load_row(task.build_module(), layout, rows[i])`` makes one of a row.
    finished : bool
        False if it was interrupted.
    summary : dict
        Versions, machine, seconds and memory.

    Examples
    --------
    >>> from sims import run
    >>> result = run("digits", overrides=["population.nodes=32", "stop.rounds=2", "evaluate.every=1"])
    >>> result.finished, result.rows.shape[0]
    (True, 32)
    """

    scenario: Scenario
    evaluations: pl.DataFrame
    nodes: pl.DataFrame | None
    rows: Tensor
    layout: Layout
    finished: bool
    summary: dict[str, Any]
