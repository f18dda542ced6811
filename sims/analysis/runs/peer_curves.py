"""Learning curves of real peers: from their models replayed, or from their own evaluations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from gossipfl.errors import GossipflError
from gossipfl.peer import read_records
from gossipfl.tasks import Task
from sims.analysis.errors import EmptyRun
from sims.analysis.runs.problem import Problem, problem_of
from sims.analysis.runs.retracing import RetracedModels, retraced_columns, retraced_models
from sims.analysis.runs.run import Run
from sims.analysis.runs.traffic import Traffic
from sims.engine.workers import torch_threads
from sims.metrics.network_metrics import observed_columns
from sims.replay.lives import Life, RecordedPeer
from sims.running.records import Records

__all__ = ["retraced_records", "self_measured_records"]

_MOST_POINTS = 120
_FEWEST_POINTS = 20


def _grid(lives: Sequence[Life], every: float) -> NDArray[np.float64]:
    """Times at which the network is measured, in seconds since its start."""
    origin = min(life.started for life in lives)
    end = max(life.ended for life in lives) - origin
    points = int(np.clip(np.ceil(end / max(every, 1e-9)), _FEWEST_POINTS, _MOST_POINTS))
    return np.linspace(0.0, end, points + 1)


def retraced_records(
    run: Run, peers: Sequence[RecordedPeer], traffic: Traffic, period: float, notes: list[str]
) -> Records | None:
    """All measurements of the peers' models, moment by moment.

    Parameters
    ----------
    run : Run
        Whose task it is.
    peers : sequence of RecordedPeer
    traffic : Traffic
    period : float
        Seconds of a round.
    notes : list of str
        Receives the reason why there are no records, or how they differ from the run.

    Returns
    -------
    Records or None
        None if the peers' records do not determine their models.
    """
    lives = [life for peer in peers for life in peer.lives.values()]
    try:
        models = retraced_models(peers, _grid(lives, lives[0].settings.evaluation.period))
    except GossipflError as error:
        notes.append(f"the peers' models could not be recomputed from their records: {error.what}")
        return None
    if models.note:
        notes.append(models.note)
    problem = replace(problem_of(run), task=models.task)
    records = Records()
    with torch_threads():
        _measure_moments(records, problem, models, traffic, period)
    return records


def _measure_moments(
    records: Records, problem: Problem, models: RetracedModels, traffic: Traffic, period: float
) -> None:
    for moment, seconds in enumerate(models.seconds):
        present = models.present[moment]
        if not present.any():
            continue
        online = traffic.online(seconds)
        rows = models.rows[moment]
        at = {
            **traffic.at(seconds, period),
            **retraced_columns(problem, rows, present & online if (present & online).any() else present),
            "age_mean": float(models.ages[moment][present].mean()),
        }
        measured = problem.evaluate(torch.from_numpy(rows[present]))
        records.add(at, measured, np.flatnonzero(present))


def self_measured_records(
    peers: Sequence[RecordedPeer], task: Task, traffic: Traffic, period: float
) -> Records:
    """Curves from the peers' own evaluations and their algorithm's measures: at each moment the newest of each.

    Raises
    ------
    EmptyRun
        If no peer ever evaluated.
    """
    names = ["loss", *task.metrics]
    lives = [life for peer in peers for life in peer.lives.values()]
    origin = min(life.started for life in lives)
    found = [_evaluations(peer, names, origin) for peer in peers]
    observed = [_observed(peer, origin) for peer in peers]
    if not any(len(times) for times, _ in found):
        raise EmptyRun(
            "the peers evaluated nothing before they ended",
            expected="records of kind 'evaluation'",
            remedy="Type more on them, and let them run longer."
            if any(life.settings.keyboard.enabled for life in lives)
            else "Let them run longer, or analyse with --retrace.",
        )
    steps = np.concatenate([np.diff(times) for times, _ in found if len(times) > 1] or [np.ones(1)])
    records = Records()
    for seconds in _grid(lives, float(np.median(steps))):
        newest = [
            (node, values[:, np.searchsorted(times, seconds, side="right") - 1])
            for node, (times, values) in enumerate(found)
            if len(times) and times[0] <= seconds
        ]
        if not newest:
            continue
        at = {
            **traffic.at(seconds, period),
            "consensus_distance": float("nan"),
            "age_mean": traffic.mean_age(seconds),
            **_observed_at(observed, seconds),
        }
        table = np.stack([values for _, values in newest], axis=1)
        records.add(at, dict(zip(names, table, strict=True)), np.array([node for node, _ in newest]))
    return records


def _evaluations(
    peer: RecordedPeer, names: Sequence[str], origin: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times ``[k]`` and values ``[metrics, k]`` of a peer's evaluations."""
    table = read_records(peer.home.records)
    kinds = Counter(table["kind"].to_list())
    if not kinds["evaluation"] or any(name not in table.columns for name in names):
        return np.zeros(0), np.zeros((len(names), 0))
    table = table.filter(pl.col("kind") == "evaluation")
    times = table["time"].to_numpy() - origin
    values = [table[name].cast(pl.Float64).fill_null(float("nan")).to_numpy() for name in names]
    return times, np.stack(values)


def _observed(peer: RecordedPeer, origin: float) -> pl.DataFrame:
    """What the algorithm measured at a peer in each of its rounds: ``seconds``, and a column for each name."""
    table = read_records(peer.home.records)
    if not isinstance(table.schema.get("measures"), pl.Struct):
        return pl.DataFrame({"seconds": []}, schema={"seconds": pl.Float64})
    done = table.filter(pl.col("kind") == "round").drop_nulls("measures")
    measures = done["measures"].struct.unnest()
    measures = measures.select(name for name in measures.columns if name.isidentifier())
    numbers = measures.with_columns(pl.all().cast(pl.Float64, strict=False).fill_null(float("nan")))
    return numbers.with_columns((done["time"].cast(pl.Float64) - origin).alias("seconds"))


def _observed_at(tables: Sequence[pl.DataFrame], seconds: float) -> dict[str, float]:
    """The newest measurements of each peer, over the network."""
    names = dict.fromkeys(name for table in tables for name in table.columns if name != "seconds")
    newest = [table.filter(pl.col("seconds") <= seconds).tail(1).to_dicts() for table in tables]
    values = {
        name: np.array([last[0].get(name, np.nan) if last else np.nan for last in newest], dtype=np.float64)
        for name in names
    }
    columns: dict[str, float] = {}
    for name, each in values.items():
        columns |= observed_columns({name: each}, ~np.isnan(each))
    return columns
