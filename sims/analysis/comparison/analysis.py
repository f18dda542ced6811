"""The analysis of runs as one value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sims.analysis.comparison.grouping import Group, group_runs, named_group, require_one_task
from sims.analysis.comparison.measured_group import MeasuredGroup
from sims.analysis.comparison.measuring import Measured, measure
from sims.analysis.comparison.questions import Questions
from sims.analysis.errors import TargetNotReached, UnknownMetric
from sims.analysis.measures.pooled import Pooled, pooled_choice, pooled_for_all
from sims.analysis.measures.targets import COSTS, Cost, Statistic, common_target, cost_to_target, curve_of
from sims.analysis.runs.run import Run
from sims.engine.workers import torch_threads
from sims.metrics.direction import is_lower_better

__all__ = ["Analysis", "analyse"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """Answers.

    Parameters
    ----------
    questions : Questions
        With metric filled in.
    metric : str
    target : float or None
    groups : tuple of MeasuredGroup
        The baseline first.
    notes : tuple of str
        Remarks on single runs, each with its path.
    """

    questions: Questions
    metric: str
    target: float | None
    groups: tuple[MeasuredGroup, ...]
    notes: tuple[str, ...]

    @property
    def runs(self) -> list[Measured]:
        """All runs."""
        return [measured for group in self.groups for measured in group.runs]

    @property
    def lower_is_better(self) -> bool:
        """Whether lower values of the metric are better."""
        return is_lower_better(self.metric)


def analyse(
    runs: Sequence[Run],
    questions: Questions | None = None,
    *,
    on_run: Callable[[Run], None] | None = None,
) -> Analysis:
    """Measure runs, group them by configuration, and compare the groups.

    Parameters
    ----------
    runs : sequence of Run
        From `sims.analysis.load_runs`; at least one.
    questions : Questions, optional
    on_run : callable, optional
        Told of every run before it is measured.

    Raises
    ------
    DifferentTasks
        If the runs learned different tasks.
    UnknownMetric, UnknownGroup, UnknownPooled
        If a question names something the runs do not have.
    TargetNotReached
        If a target was given, and no run reached it.
    """
    asked = questions or Questions()
    require_one_task(runs)
    metric = _metric(runs, asked.metric)
    groups = group_runs(runs)
    first = named_group(groups, asked.baseline)
    groups = [first, *(group for group in groups if group is not first)]
    target = asked.target
    if target is None:
        target = common_target(runs, metric, asked.statistic)
    else:
        _require_reached(runs, metric, target, asked.statistic)
    given = pooled_choice(asked.pooled, metric)
    measured: dict[int, Measured] = {}
    with torch_threads():  # many small products: more threads would mostly wait for each other
        trained = pooled_for_all(runs) if given is None else {}
        for run in runs:
            if on_run is not None:
                on_run(run)
            measured[id(run)] = measure(run, metric, pooled=given or trained.get(id(run)), questions=asked)
    return Analysis(
        questions=asked,
        metric=metric,
        target=target,
        groups=tuple(_measured_group(group, measured, metric, target, asked.statistic) for group in groups),
        notes=tuple(_notes(list(measured.values()), given)),
    )


def _measured_group(
    group: Group, measured: dict[int, Measured], metric: str, target: float | None, statistic: Statistic
) -> MeasuredGroup:
    costs: dict[Cost, Floats] = {}
    if target is not None:
        for cost in COSTS:
            costs[cost] = np.array(
                [
                    cost_to_target(run, cost, metric=metric, target=target, statistic=statistic)
                    for run in group.runs
                ]
            )
    return MeasuredGroup(label=group.label, runs=tuple(measured[id(run)] for run in group.runs), costs=costs)


def _metric(runs: Sequence[Run], wanted: str | None) -> str:
    known = runs[0].metrics
    if wanted is None and known:
        return known[0]
    if wanted is None or wanted not in known:
        raise UnknownMetric(
            f"the runs did not measure {wanted!r}" if wanted else "the runs measured nothing of their nodes",
            expected=f"one of {', '.join(known)}"
            if known
            else "columns such as accuracy_mean and accuracy_q05",
        )
    return wanted


def _require_reached(runs: Sequence[Run], metric: str, target: float, statistic: Statistic) -> None:
    best = []
    for run in runs:
        if np.isfinite(cost_to_target(run, "round", metric=metric, target=target, statistic=statistic)):
            return
        curve = curve_of(run, metric, statistic)
        curve = curve[np.isfinite(curve)]
        if len(curve):
            best.append(float(curve.min() if is_lower_better(metric) else curve.max()))
    reached = "nothing was measured"
    if best:
        reached = f"{min(best) if is_lower_better(metric) else max(best):.4g} at best"
    raise TargetNotReached(
        f"no run reached {metric} {target:g} ({statistic} over nodes)",
        expected="a target that at least one run reaches",
        got=reached,
        remedy="Choose another --target, or run for longer.",
    )


def _notes(measured: Sequence[Measured], given: Pooled | None) -> list[str]:
    """Notes with the runs they apply to; one that all runs share appears once."""
    by_note: dict[str, list[str]] = {}
    for each in measured:
        for note in each.notes:
            by_note.setdefault(note, []).append(str(each.run.path))
    said = []
    for note, paths in by_note.items():
        where = "all runs" if len(paths) == len(measured) > 1 else ", ".join(paths[:3])
        where += f" and {len(paths) - 3} more" if where != "all runs" and len(paths) > 3 else ""
        said.append(f"{where}: {note}")
    trained = {each.pooled.source for each in measured if each.pooled is not None and each.pooled.source}
    if given is None and trained:
        said.append(f"pooled training: {'; '.join(sorted(trained)[:3])}")
    return said
