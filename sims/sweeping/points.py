"""The points of a sweep: all combinations of its grid, its variants and its random draws."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from sims.errors import InvalidSweep
from sims.scenario import Scenario
from sims.scenario.text import scenario_of
from sims.sweeping.keys import assign, flattened, label_of
from sims.sweeping.settings import Choice, Distribution, Integer, LogUniform, RandomSearch, Sweep

__all__ = ["Point", "points_of", "scenario_at"]

Value = bool | int | float | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One combination of values.

    Parameters
    ----------
    number : int
        Counted from 1, in the order of the sweep.
    values : tuple
        Scenario keys and the values they have here.
    columns : mapping
        Its columns in the records: for every swept key a number or a label.
    """

    number: int
    values: tuple[tuple[str, Any], ...]
    columns: Mapping[str, Value]

    def __str__(self) -> str:
        return f"point {self.number} ({self.label or 'the scenario as it is'})"

    @property
    def label(self) -> str:
        """Keys and values, readable."""
        return ", ".join(f"{key} = {_short(value)}" for key, value in self.columns.items())


@dataclass(frozen=True, slots=True)
class _Option:
    """One value of an axis: the keys it sets, and its columns in the records."""

    values: tuple[tuple[str, Any], ...]
    columns: tuple[tuple[str, Value], ...]


def points_of(sweep: Sweep) -> list[Point]:
    """All points of a sweep, in order: the first key of the grid varies slowest, then variants, draws fastest.

    Raises
    ------
    InvalidSweep
        If two values of an axis have the same label, or keys contradict one another.
    """
    axes = [_grid_axis(key, values) for key, values in sweep.grid.items()]
    if sweep.variant:
        axes.append(_variants(sweep))
    if sweep.random is not None:
        axes.append(list(_drawn(sweep.random)))
    _refuse_doubly_swept(sweep, axes)
    points: list[Point] = []
    for number, combination in enumerate(product(*axes), start=1):
        columns = {key: value for option in combination for key, value in option.columns}
        values = tuple(value for option in combination for value in option.values)
        points.append(Point(number=number, values=values, columns=columns))
    return points


def scenario_at(sweep: Sweep, point: Point, *, seed: int, more: Mapping[str, Any] | None = None) -> Scenario:
    """Scenario of one run.

    Parameters
    ----------
    sweep : Sweep
    point : Point
    seed : int
    more : mapping, optional
        Further keys, set last.

    Raises
    ------
    InvalidScenario, InvalidSweep
        The error names the point and its values.
    """
    assert isinstance(sweep.scenario, dict)  # noqa: S101 - `parse_sweep` has read it
    table = copy.deepcopy(sweep.scenario)
    seeds = dict.fromkeys(sweep.seed_keys, seed)
    try:
        for key, value in [*sweep.set.items(), *point.values, *seeds.items(), *(more or {}).items()]:
            assign(table, key, _without_label(copy.deepcopy(value)))
    except InvalidSweep as error:
        raise InvalidSweep(f"{point}: {error}") from error
    if not sweep.keep_rows:
        assign(table, "output.rows", False)
    table["name"] = f"{point.label or sweep.name}, seed {seed}"
    return scenario_of(table, source=str(point))


def _grid_axis(key: str, values: Sequence[Any]) -> list[_Option]:
    labels = _alike([label_of(value) for value in values])
    if len(set(labels)) < len(labels):
        raise InvalidSweep(
            f"grid.{key}: two values have the same label",
            got=", ".join(map(str, labels)),
            remedy="Leave one out, or give tables a `label` of their own.",
        )
    return [_Option(((key, value),), ((key, label),)) for value, label in zip(values, labels, strict=True)]


def _variants(sweep: Sweep) -> list[_Option]:
    labels = [variant["label"] for variant in sweep.variant]
    if len(set(labels)) < len(labels):
        raise InvalidSweep("two variants have the same label", got=", ".join(labels))
    return [
        _Option(
            tuple((key, value) for key, value in _flat(variant).items() if key != "label"),
            (("variant", variant["label"]),),
        )
        for variant in sweep.variant
    ]


def _flat(variant: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = flattened(variant, until=lambda value: "name" in value or "kind" in value)
    return flat


def _drawn(search: RandomSearch) -> Iterator[_Option]:
    seen = set()
    for draw in range(search.draws):
        generator = np.random.Generator(np.random.Philox(key=[search.seed, draw]))
        values = tuple((key, _draw(generator, found)) for key, found in search.keys.items())
        columns = tuple((key, label_of(value)) for key, value in values)
        if columns not in seen:
            yield _Option(values, columns)
        seen.add(columns)


def _draw(generator: np.random.Generator, distribution: Distribution) -> Any:
    if isinstance(distribution, Choice):
        return distribution.values[int(generator.integers(len(distribution.values)))]
    if isinstance(distribution, Integer):
        return int(generator.integers(distribution.low, distribution.high, endpoint=True))
    low, high = distribution.low, distribution.high
    if isinstance(distribution, LogUniform):
        return float(np.exp(generator.uniform(np.log(low), np.log(high))))
    return float(generator.uniform(low, high))


def _alike(labels: Sequence[Value]) -> list[Value]:
    """Labels of one type, so that they make a column."""
    kinds = {type(label) for label in labels}
    if kinds == {int, float}:
        return [float(label) for label in labels]
    return list(labels) if len(kinds) <= 1 else [str(label) for label in labels]


def _refuse_doubly_swept(sweep: Sweep, axes: Sequence[Sequence[_Option]]) -> None:
    """A key that two axes set would have the value of the last; seeds are set by the sweep itself."""
    taken: list[set[str]] = [{key for option in axis for key, _ in option.values} for axis in axes]
    taken.append(set(sweep.seed_keys))
    if sweep.tune is not None and sweep.tune.key in {
        *sweep.grid,
        *(sweep.random.keys if sweep.random else ()),
    }:
        raise InvalidSweep(
            f"{sweep.tune.key} is both tuned and a key of [grid] or [random]",
            remedy="Where its search begins may differ between variants; else leave it out.",
        )
    for place, keys in enumerate(taken):
        for key, earlier in product(sorted(keys), sorted(set().union(*taken[:place]))):
            if key == earlier or earlier.startswith(f"{key}."):
                raise InvalidSweep(
                    f"{key} would replace {earlier} at every point",
                    remedy="A key belongs to one of [grid], [[variant]], [random] and the seeds, and "
                    "a whole table comes before keys in it.",
                )


def _without_label(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_label(inner) for key, inner in value.items() if key != "label"}
    return [_without_label(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _short(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
