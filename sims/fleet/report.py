"""The report of a fleet: recall by hour, processor time, bytes, goodput, and fairness between time zones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sims.compiler.timeline.charging import phones_of
from sims.errors import InvalidScenario, RunDirectoryError
from sims.fleet.energy import seconds_of_a_step
from sims.fleet.goodput import goodput
from sims.metrics.fairness import jain_index
from sims.scenario import Scenario, load_scenario
from sims.scenario.network import ChargingChurn
from sims.world import build_world

__all__ = ["FleetReport", "Zone", "fleet_report"]

_DAY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """Phones of one time zone.

    Parameters
    ----------
    hours : float
        Ahead of UTC.
    phones, measured : int
        How many there are, and how many of them were measured.
    recall : float
        Mean over the measured phones and the evaluations of the last day; NaN if none was measured.
    steps : float
        Training steps a phone and day.
    goodput : float
        Of their steps.
    """

    hours: float
    phones: int
    measured: int
    recall: float
    steps: float
    goodput: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetReport:
    """What a run of phones cost each of them, and what it brought.

    Parameters
    ----------
    phones : int
    days : float
    hours : list of (float, float)
        Hours since the start and the mean recall of the measured phones then.
    steps : float
        Training steps a phone and day.
    step_seconds : float
        Processor time of one step, as a peer would do it, on this machine; it is measured when the report is made.
    bytes_sent : float
        A phone and day, lost messages included.
    bytes_metered, bytes_unmetered : float
        Bytes of models that arrived, sent and received, of a phone on a metered link and day, and of another.
    full_bytes : float
        The same as ``bytes_sent`` if each message were the float32 model.
    goodput, kept : float
        As of `sims.fleet.goodput.Goodput`.
    zones : list of Zone
    jain : float
        Jain's index of the zones' recall.
    """

    phones: int
    days: float
    hours: list[tuple[float, float]]
    steps: float
    step_seconds: float
    bytes_sent: float
    bytes_metered: float
    bytes_unmetered: float
    full_bytes: float
    goodput: float
    kept: float
    zones: list[Zone]
    jain: float

    @property
    def seconds(self) -> float:
        """Processor time of training, seconds a phone and day."""
        return self.steps * self.step_seconds

    def share_of_processor(self, cores: int) -> float:
        """Share of all that so many cores could do in a day."""
        return self.seconds / (cores * _DAY)


def fleet_report(directory: Path, *, on_time: Callable[[float], None] = lambda rounds: None) -> FleetReport:
    """Report on a finished run of a scenario with ``churn.process.kind = "charging"``.

    Who sent what is drawn once more, from the scenario, which takes a small part of the time of the run.

    Parameters
    ----------
    directory : Path
        Of the run's records, with ``evaluate.per_node``.
    on_time : callable, optional
        Told how many rounds are done.

    Raises
    ------
    RunDirectoryError
        If there is no such run, or its nodes were not recorded.
    InvalidScenario
        If its nodes are no phones that charge.
    NotAccountable
        If goodput is not defined for its algorithm.
    """
    scenario, evaluations, nodes = _records(directory)
    process = scenario.churn.process
    if not isinstance(process, ChargingChurn):
        raise InvalidScenario(
            "only phones that charge have this report",
            expected='churn.process.kind = "charging"',
            got=process.kind,
        )
    world = build_world(scenario)
    n = scenario.population.nodes
    days = scenario.stop.rounds * scenario.network.period / _DAY
    phones = phones_of(process, seed=scenario.seed, numbers=world.trainer.data.numbers)
    worked = goodput(world, on_time=on_time)
    steps = np.bincount(worked.owners, minlength=n) / days
    last = evaluations.row(-1, named=True)
    message, full = world.message_bytes, 4 * world.layout.shared_size
    traffic = (worked.sent + worked.received) * message / days
    recent = nodes.filter(pl.col("round") * scenario.network.period > last["seconds"] - _DAY)
    zones = [
        _zone(hours, phones.zone == place, recent, steps, worked.of_nodes(phones.zone == place))
        for place, hours in enumerate(process.zones)
    ]
    return FleetReport(
        phones=n,
        days=days,
        hours=[(row["seconds"] / 3600, row["recall_mean"]) for row in evaluations.iter_rows(named=True)],
        steps=float(steps.mean()),
        step_seconds=seconds_of_a_step(world),
        bytes_sent=last["bytes"] / n / days,
        bytes_metered=_mean(traffic[phones.metered]),
        bytes_unmetered=_mean(traffic[~phones.metered]),
        full_bytes=last["messages"] * full / n / days,
        goodput=worked.share,
        kept=worked.kept,
        zones=zones,
        jain=jain_index(np.array([zone.recall for zone in zones if zone.measured])),
    )


def _records(directory: Path) -> tuple[Scenario, pl.DataFrame, pl.DataFrame]:
    missing = [name for name in ("scenario.toml", "evaluations.parquet") if not (directory / name).is_file()]
    if missing:
        raise RunDirectoryError(
            f"{directory} holds no run: there is no {missing[0]}",
            remedy="Run one: gossipfl sim run phones-keyboard --out DIRECTORY.",
        )
    if not (directory / "nodes.parquet").is_file():
        raise RunDirectoryError(
            f"{directory} has no measurements of single phones", remedy="Set evaluate.per_node = true."
        )
    scenario = load_scenario(directory / "scenario.toml")
    return (
        scenario,
        pl.read_parquet(directory / "evaluations.parquet"),
        pl.read_parquet(directory / "nodes.parquet"),
    )


def _zone(
    hours: float,
    there: NDArray[np.bool_],
    recent: pl.DataFrame,
    steps: NDArray[np.float64],
    goodput_there: float,
) -> Zone:
    chosen = recent.filter(pl.col("node").is_in(np.flatnonzero(there).tolist()))
    recall = chosen["recall"].mean() if len(chosen) else None
    return Zone(
        hours=hours,
        phones=int(there.sum()),
        measured=chosen["node"].n_unique(),
        recall=float(recall) if isinstance(recall, float) else float("nan"),
        steps=_mean(steps[there]),
        goodput=goodput_there,
    )


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")
