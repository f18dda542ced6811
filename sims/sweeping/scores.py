"""Scores of runs: the metric that points are compared by."""

from __future__ import annotations

import math

import polars as pl

from sims.sweeping.settings import Sweep

__all__ = ["best_row", "score_of"]


def best_row(evaluations: pl.DataFrame, sweep: Sweep) -> int | None:
    """Index of the first evaluation with the best metric; None if it is never a number."""
    values = evaluations[sweep.metric].cast(pl.Float64).fill_nan(None)
    return values.arg_max() if sweep.direction == "maximise" else values.arg_min()


def score_of(evaluations: pl.DataFrame | None, sweep: Sweep) -> float | None:
    """The metric of a run, as the sweep measures it.

    Returns
    -------
    float or None
        None if there are no evaluations, or the run diverged: the metric, or the loss at the end, is not a number.
    """
    if evaluations is None or not len(evaluations):
        return None
    row = best_row(evaluations, sweep) if sweep.measure == "best" else len(evaluations) - 1
    if row is None:
        return None
    score, loss = evaluations[sweep.metric][row], evaluations["loss_mean"][-1]
    return float(score) if math.isfinite(score) and math.isfinite(loss) else None
