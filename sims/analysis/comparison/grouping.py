"""Groups of runs that differ only in their seeds, and their names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sims.analysis.errors import DifferentTasks, UnknownGroup
from sims.analysis.runs.run import Run

__all__ = ["Group", "group_runs", "named_group", "require_one_task"]

# Said of the whole label rather than of every part of it.
_SECTIONS = ("algorithm.", "topology.", "training.", "network.", "task.", "population.", "churn.", "stop.")
_LONGEST = 60


@dataclass(frozen=True, kw_only=True)
class Group:
    """Runs of one configuration.

    Parameters
    ----------
    label : str
        The settings that set it apart from the other groups.
    runs : tuple of Run
        In order of their seeds.
    """

    label: str
    runs: tuple[Run, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the runs."""
        return tuple(run.seed for run in self.runs)


def require_one_task(runs: Sequence[Run]) -> None:
    """Require that all runs learned the same task and measured it in the same way.

    Raises
    ------
    DifferentTasks
        If they did not.
    """
    first = runs[0]
    for run in runs[1:]:
        if run.task != first.task:
            raise DifferentTasks(
                f"{first.path} and {run.path} learned different tasks",
                expected=first.task,
                got=run.task,
                remedy="Analyse the runs of each task by themselves.",
            )
        if set(run.metrics) != set(first.metrics):
            raise DifferentTasks(
                f"{first.path} and {run.path} measured different things",
                expected=", ".join(first.metrics),
                got=", ".join(run.metrics),
                remedy="Analyse the runs of each version of the task by themselves.",
            )


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Put runs together that differ only in their seeds, in order of appearance.

    Two runs of one configuration and one seed stay together too, such as repetitions of real peers.
    """
    members: dict[str, list[Run]] = {}
    for run in runs:
        key = json.dumps([run.source, dict(run.configuration)], sort_keys=True, default=str)
        members.setdefault(key, []).append(run)
    labels = _labels([own[0] for own in members.values()])
    return [
        Group(label=label, runs=tuple(sorted(own, key=lambda run: run.seed)))
        for label, own in zip(labels, members.values(), strict=True)
    ]


def named_group(groups: Sequence[Group], label: str | None) -> Group:
    """The group with this label, or the only one whose label contains it; the first one for None.

    Raises
    ------
    UnknownGroup
        If there is no such group, or more than one.
    """
    if label is None:
        return groups[0]
    exact = [group for group in groups if group.label == label]
    close = exact or [group for group in groups if label.lower() in group.label.lower()]
    if len(close) != 1:
        raise UnknownGroup(
            f"{'no' if not close else 'more than one'} group of runs is called {label!r}",
            expected="one of " + "; ".join(repr(group.label) for group in groups),
        )
    return close[0]


def _labels(runs: Sequence[Run]) -> list[str]:
    """The distinguishing values of each: source, name, and the settings that differ."""
    if len(runs) == 1:
        return [runs[0].name]
    by_source = len({run.source for run in runs}) > 1
    labels = []
    for run in runs:
        # A simulation is not configured in the words of peers: only runs of one source are told apart by values.
        alike = [other for other in runs if other.source == run.source and other.variant == run.variant]
        parts = [run.variant] * bool(run.variant) + _differences(run, alike)
        kind = {"simulator": "simulated", "peers": "real peers"}[run.source]
        named = [kind] if by_source else []
        labels.append(", ".join([*named, *parts]) or run.name)
    return _distinct(labels, runs)


def _differences(run: Run, others: Sequence[Run]) -> list[str]:
    if len(others) == 1:
        return []
    keys = sorted({key for other in others for key in other.configuration})
    parts = []
    for key in keys:
        # Parameters of another algorithm or topology are not differences: its name says it.
        name = f"{key.split('.')[0]}.name"
        alike = [o for o in others if key == name or o.configuration.get(name) == run.configuration.get(name)]
        values = {json.dumps(other.configuration.get(key), default=str) for other in alike}
        if len(values) > 1 and run.configuration.get(key) is not None:
            parts.append((key, run.configuration[key]))
    # What has a name says most; its own arguments follow.
    parts.sort(key=lambda part: not part[0].endswith(".name"))
    said = [_said(key, value) for key, value in parts]
    while len(said) > 1 and len(", ".join(said)) > _LONGEST:
        said.pop()
    return said


def _said(key: str, value: Any) -> str:  # noqa: ANN401 - any JSON value
    if key.endswith(".name"):
        return str(value)
    for section in _SECTIONS:
        key = key.removeprefix(section)
    return f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"


def _distinct(labels: list[str], runs: Sequence[Run]) -> list[str]:
    repeated = {label for label in labels if labels.count(label) > 1}
    return [
        f"{label} ({run.path.name})" if label in repeated else label
        for label, run in zip(labels, runs, strict=True)
    ]
