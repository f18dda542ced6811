"""The results of a sweep: a table of runs, and points compared by the metric over seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from sims.metrics.intervals import mean_interval
from sims.sweeping.checking import Checked
from sims.sweeping.jobs import Outcome
from sims.sweeping.points import Point
from sims.sweeping.scores import best_row, score_of
from sims.sweeping.settings import Sweep

__all__ = ["evaluations_table", "runs_table", "summary_of", "tuning_table"]


def runs_table(sweep: Sweep, checked: Sequence[Checked], outcomes: Sequence[Outcome]) -> pl.DataFrame:
    """One row a run: its point, its seed, how it ended, the score, and all that was measured at its end.

    Parameters
    ----------
    sweep : Sweep
    checked : sequence of Checked
        Points that are impossible have a row too, without a seed.
    outcomes : sequence of Outcome
        Of the runs that are reported.
    """
    points = {entry.point.number: entry.point for entry in checked}
    rows: list[dict[str, Any]] = [
        {**_columns(sweep, entry.point), "state": "impossible", "error": entry.refusal}
        for entry in checked
        if entry.refusal is not None
    ]
    for outcome in outcomes:
        row = _row(sweep, points, outcome)
        if outcome.evaluations is not None:
            best = best_row(outcome.evaluations, sweep)
            if best is not None:
                row[f"best_{sweep.metric}"] = outcome.evaluations[sweep.metric][best]
                row["best_round"] = outcome.evaluations["round"][best]
            row |= outcome.evaluations.row(-1, named=True)
        rows.append(row)
    first = ["run", "point", *_keys(sweep, checked), "seed", "state", "error", "wall_seconds", "score"]
    named = list(dict.fromkeys([*first, *(key for row in rows for key in row)]))
    table = pl.DataFrame([{key: row.get(key) for key in named} for row in rows], infer_schema_length=None)
    return table.sort("point", "seed") if len(table) else table


def evaluations_table(sweep: Sweep, checked: Sequence[Checked], outcomes: Sequence[Outcome]) -> pl.DataFrame:
    """Evaluations of all runs, each with the columns of its run."""
    points = {entry.point.number: entry.point for entry in checked}
    tables = []
    for outcome in sorted(outcomes, key=lambda o: (o.job.point, o.job.seed)):
        if outcome.evaluations is not None:
            columns = _columns(sweep, points[outcome.job.point], outcome)
            literals = [_literal(value).alias(key) for key, value in columns.items()]
            tables.append(outcome.evaluations.select(*literals, pl.all()))
    return pl.concat(tables, how="diagonal_relaxed") if tables else pl.DataFrame()


def tuning_table(sweep: Sweep, checked: Sequence[Checked], outcomes: Sequence[Outcome]) -> pl.DataFrame:
    """One row a trial: the value tried, the seed, and the score on the samples that trials are measured on."""
    points = {entry.point.number: entry.point for entry in checked}
    rows = [
        _row(sweep, points, outcome)
        for outcome in sorted(outcomes, key=lambda o: (o.job.point, o.job.tuned or 0.0, o.job.seed))
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def summary_of(
    sweep: Sweep,
    checked: Sequence[Checked],
    outcomes: Sequence[Outcome],
    trials: Sequence[Outcome],
) -> dict[str, Any]:
    """Compare the points, best first.

    Returns
    -------
    dict
        ``metric``, ``direction``, ``measure``, ``confidence``, and ``points``: for each its values, how many of
        its runs finished, diverged and failed, ``mean``, ``low`` and ``high`` of the score over seeds, and
        ``behind``, ``behind_low`` and ``behind_high``: by how much the best point is better, seed by seed.
    """
    reported, tried = _by_point(outcomes), _by_point(trials)
    points = [
        _compared(sweep, entry, reported[entry.point.number], tried[entry.point.number]) for entry in checked
    ]
    sign = -1 if sweep.direction == "maximise" else 1
    points.sort(key=lambda entry: (entry["mean"] is None, sign * (entry["mean"] or 0.0), entry["point"]))
    if points and points[0]["mean"] is not None:
        best = _scores(sweep, reported[points[0]["point"]])
        for entry in points[1:]:
            entry.update(_behind(sweep, best, _scores(sweep, reported[entry["point"]])))
    return {
        "name": sweep.name,
        "metric": sweep.metric,
        "direction": sweep.direction,
        "measure": sweep.measure,
        "confidence": sweep.confidence,
        "tuned": sweep.tune.key if sweep.tune else None,
        "points": points,
    }


def _compared(
    sweep: Sweep, entry: Checked, outcomes: Sequence[Outcome], trials: Sequence[Outcome]
) -> dict[str, Any]:
    scores = list(_scores(sweep, outcomes).values())
    mean, low, high = mean_interval(scores, confidence=sweep.confidence) if scores else (None, None, None)
    failed = [outcome.error for outcome in outcomes if outcome.state == "failed"]
    found: dict[str, Any] = {"point": entry.point.number, "label": entry.point.label}
    found["values"] = dict(entry.point.columns)
    if sweep.tune is not None:
        tuned = next((outcome.job.tuned for outcome in outcomes), None)
        values = {trial.job.tuned for trial in trials if trial.job.tuned is not None}
        found |= {"tuned": tuned, "tuned_at_edge": bool(values) and tuned in (min(values), max(values))}
    return {
        **found,
        "finished": sum(outcome.state == "finished" for outcome in outcomes),
        "diverged": sum(outcome.state == "finished" for outcome in outcomes) - len(scores),
        "failed": len(failed),
        "error": entry.refusal or next(iter(failed), None),
        "impossible": entry.refusal is not None,
        "mean": mean,
        "low": low,
        "high": high,
    }


def _behind(sweep: Sweep, best: Mapping[int, float], own: Mapping[int, float]) -> dict[str, Any]:
    sign = 1 if sweep.direction == "maximise" else -1
    pairs = [sign * (best[seed] - own[seed]) for seed in sorted(best.keys() & own.keys())]
    if not pairs:
        return {}
    mean, low, high = mean_interval(pairs, confidence=sweep.confidence)
    return {"behind": mean, "behind_low": low, "behind_high": high}


def _scores(sweep: Sweep, outcomes: Sequence[Outcome]) -> dict[int, float]:
    scores = {outcome.job.seed: score_of(outcome.evaluations, sweep) for outcome in outcomes}
    return {seed: score for seed, score in sorted(scores.items()) if score is not None}


def _by_point(outcomes: Sequence[Outcome]) -> defaultdict[int, list[Outcome]]:
    found: defaultdict[int, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        found[outcome.job.point].append(outcome)
    return found


def _row(sweep: Sweep, points: Mapping[int, Point], outcome: Outcome) -> dict[str, Any]:
    return {
        **_columns(sweep, points[outcome.job.point], outcome),
        "state": outcome.state,
        "error": outcome.error,
        "wall_seconds": outcome.seconds,
        "score": score_of(outcome.evaluations, sweep),
    }


def _columns(sweep: Sweep, point: Point, outcome: Outcome | None = None) -> dict[str, Any]:
    columns: dict[str, Any] = {"run": None, "point": point.number, **point.columns}
    if sweep.tune is not None:
        columns[sweep.tune.key] = outcome.job.tuned if outcome else None
    columns["seed"] = outcome.job.seed if outcome else None
    return columns | ({"run": outcome.job.run} if outcome else {})


def _literal(value: bool | int | float | str) -> pl.Expr:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return pl.lit(value, dtype=pl.Int64) if whole else pl.lit(value)


def _keys(sweep: Sweep, checked: Sequence[Checked]) -> list[str]:
    keys = list(checked[0].point.columns) if checked else []
    return [*keys, *([sweep.tune.key] if sweep.tune else [])]
