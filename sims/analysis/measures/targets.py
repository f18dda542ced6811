"""The cost of reaching a target: rounds, simulated seconds, messages, bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sims.analysis.runs.run import Run
from sims.metrics.direction import is_lower_better

__all__ = [
    "COSTS",
    "Cost",
    "Statistic",
    "common_target",
    "cost_to_target",
    "costs_of_targets",
    "crossing",
    "curve_of",
]

Floats = NDArray[np.float64]
Cost = Literal["round", "seconds", "messages", "bytes"]
COSTS: tuple[Cost, ...] = ("round", "seconds", "messages", "bytes")
Statistic = Literal["mean", "worst", "median"]

_STEP = 0.05


def curve_of(run: Run, metric: str, statistic: Statistic = "mean") -> Floats:
    """A metric over time, float64 ``[evaluations]``: of the mean, median or worst node."""
    worst = "max" if is_lower_better(metric) else "min"
    return run.column(f"{metric}_{worst if statistic == 'worst' else statistic}")


def crossing(cost: Floats, values: Floats, target: float, *, lower_is_better: bool = False) -> float:
    """The cost at which a curve first reaches a target.

    Parameters
    ----------
    cost : ndarray
        Ascending, ``[k]``.
    values : ndarray
        The level reached so far, ``[k]``; NaN where it was not measured.
    target : float
    lower_is_better : bool

    Returns
    -------
    float
        On the straight line between the last measurement short of the target and the first that is not; NaN
        if there is no such measurement. The line is an estimate: the true time lies between the two.
    """
    measured = ~(np.isnan(values) | np.isnan(cost))
    cost, values = cost[measured], values[measured]
    if lower_is_better:
        values, target = -values, -target
    reached = np.flatnonzero(values >= target)
    if not len(reached):
        return math.nan
    i = int(reached[0])
    if i == 0 or values[i] == values[i - 1]:
        return float(cost[i])
    share = (target - values[i - 1]) / (values[i] - values[i - 1])
    return float(cost[i - 1] + share * (cost[i] - cost[i - 1]))


def cost_to_target(
    run: Run, cost: Cost, *, metric: str, target: float, statistic: Statistic = "mean"
) -> float:
    """The cost at which a run first reaches a target; NaN if it never does."""
    return crossing(
        run.column(cost),
        curve_of(run, metric, statistic),
        target,
        lower_is_better=is_lower_better(metric),
    )


def costs_of_targets(
    run: Run, cost: Cost, targets: Floats, *, metric: str, statistic: Statistic = "mean"
) -> Floats:
    """The time-to-accuracy curve: the cost of each target, float64 ``[k]``; NaN where it was not reached."""
    spent, values, lower = run.column(cost), curve_of(run, metric, statistic), is_lower_better(metric)
    return np.array([crossing(spent, values, float(target), lower_is_better=lower) for target in targets])


def common_target(runs: Sequence[Run], metric: str, statistic: Statistic = "mean") -> float | None:
    """A target that is informative for all runs: the highest multiple of 5 % that every run reaches.

    Of metrics that are better the lower, and of such that are not shares, the best value that all reach.

    Returns
    -------
    float or None
        None if some run measured nothing, or starts above it.
    """
    curves = [curve_of(run, metric, statistic) for run in runs]
    curves = [curve[~np.isnan(curve)] for curve in curves]
    if not curves or not all(len(curve) for curve in curves):
        return None
    if is_lower_better(metric):
        target = max(float(curve.min()) for curve in curves)
        beyond = any(curve[0] <= target for curve in curves)
        return None if beyond else target
    target = min(float(curve.max()) for curve in curves)
    if 0 < target <= 1:
        target = math.floor(target / _STEP + 1e-9) * _STEP
    beyond = any(curve[0] >= target for curve in curves)
    return None if beyond or target <= 0 else round(target, 12)
