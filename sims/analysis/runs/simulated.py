"""Runs of the simulator, from their directories."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from gossipfl.settings import TrainingSettings
from sims.analysis.errors import DamagedRun, EmptyRun
from sims.analysis.runs.run import Run
from sims.errors import RunDirectoryError
from sims.running.checkpoint import read_checkpoint
from sims.running.records import RunDirectory
from sims.scenario import Scenario, load_scenario
from topology.parsing import json_of

__all__ = ["configuration_of", "is_simulated", "read_simulated"]

_SCENARIO = "scenario.toml"
# What says how a run is measured and kept, not what happens in it.
_NOT_CONFIGURATION = frozenset({"name", "evaluate", "output"})


def is_simulated(directory: Path) -> bool:
    """Whether the directory holds a run of the simulator."""
    return (directory / _SCENARIO).is_file()


def read_simulated(directory: Path) -> Run:
    """Read a run of the simulator; an interrupted or killed one, as far as it got.

    Raises
    ------
    InvalidScenario
        If its scenario is not one of this version.
    EmptyRun
        If nothing was measured before it ended.
    DamagedRun
        If one of its files cannot be read.
    """
    scenario = load_scenario(directory / _SCENARIO)
    summary = _summary(directory / "run.json")
    curves = _evaluations(directory)
    rows, labels, notes = _rows(directory, scenario.population.nodes)
    finished = bool(summary.get("finished", False))
    if not finished:
        done, planned = float(curves["round"][-1]), scenario.stop.rounds
        notes.append(f"interrupted at round {done:g} of {planned:g}: analysed as far as it got")
    nodes = directory / "nodes.parquet"
    return Run(
        path=directory,
        source="simulator",
        name=scenario.name,
        seed=scenario.seed,
        finished=finished,
        configuration=configuration_of(scenario),
        task=scenario.task.name,
        task_options=(scenario.task.options,),
        training=TrainingSettings.model_validate(
            scenario.training.model_dump(include=set(TrainingSettings.model_fields))
        ),
        learns=scenario.training.enabled,
        curves=curves,
        nodes=_table(nodes) if nodes.is_file() else None,
        rows=rows,
        labels=labels,
        scenario=scenario,
        variant=_variant(directory),
        notes=tuple(notes),
    )


def _variant(directory: Path) -> str:
    """What the sweep that a run belongs to calls its variant; empty without any."""
    runs = directory.resolve().parent.parent / "runs.parquet"
    if directory.resolve().parent.name != "runs" or not runs.is_file():
        return ""
    try:
        table = _table(runs)
    except DamagedRun:
        return ""
    if not {"run", "variant"} <= set(table.columns):
        return ""
    found = table.filter(pl.col("run") == directory.resolve().name)["variant"]
    return str(found[0]) if len(found) else ""


def configuration_of(scenario: Scenario) -> dict[str, Any]:
    """The settings of a scenario as ``section.key``, without seeds and without those about measurement alone."""
    return {
        key: value
        for key, value in _flat("", scenario.model_dump(mode="json"))
        if key.split(".")[0] not in _NOT_CONFIGURATION and key.split(".")[-1] != "seed"
    }


def _flat(prefix: str, value: Any) -> list[tuple[str, Any]]:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return [pair for key, item in value.items() for pair in _flat(f"{prefix}{key}.", item)]
    return [(prefix.removesuffix("."), value)]


def _evaluations(directory: Path) -> pl.DataFrame:
    file = directory / "evaluations.parquet"
    if file.is_file():
        table = _table(file)
    else:
        try:
            _, table, _, _ = read_checkpoint(RunDirectory(directory))
        except RunDirectoryError as error:
            raise EmptyRun(
                f"the run in {directory} ended before anything was measured",
                expected=f"a file {file}",
                remedy="Start it again, or leave it out.",
            ) from error
    if not len(table):
        raise EmptyRun(
            f"the run in {directory} has no evaluations", remedy="Start it again, or leave it out."
        )
    if "round" not in table.columns or "seconds" not in table.columns:
        raise DamagedRun(
            f"{file} holds no evaluations of a run",
            expected="columns such as round, seconds and accuracy_mean",
            got=", ".join(table.columns[:8]),
        )
    return table


def _table(file: Path) -> pl.DataFrame:
    with _readable(file):
        return pl.read_parquet(file)


def _rows(directory: Path, nodes: int) -> tuple[NDArray[np.floating[Any]] | None, tuple[str, ...], list[str]]:
    """The last models of the honest nodes, at the end or in the checkpoint, and the numbers of these nodes."""
    labels = tuple(str(node) for node in range(nodes))
    for name in ("rows.safetensors", "checkpoint.safetensors"):
        file = directory / name
        if file.is_file():
            with _readable(file), safe_open(file, framework="np") as opened:
                if "rows" not in opened.keys():  # noqa: SIM118  (no mapping): kept in few bits
                    continue
                rows = np.asarray(opened.get_tensor("rows"))
                if "models" in opened.keys():  # noqa: SIM118  (no mapping)
                    count, size = opened.get_tensor("models")
                    rows = rows[:count, :size]
                if "hostile" not in opened.keys():  # noqa: SIM118  (no mapping)
                    return rows, labels, []
                honest = np.flatnonzero(~np.asarray(opened.get_tensor("hostile")))
            left_out = nodes - len(honest)
            note = (
                f"{left_out} nodes were hostile: their models are left out, and theory knows nothing of them"
            )
            return rows[honest], tuple(labels[i] for i in honest), [note] if left_out else []
    return (
        None,
        labels,
        [
            "no models were kept (a sweep keeps them with keep_rows = true, a run unless output.rows = false "
            "or it was killed): what needs them is left out"
        ],
    )


def _summary(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    with _readable(file):
        found = json_of(file.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise DamagedRun(f"{file} holds no table", got=type(found).__name__, remedy="Run the scenario again.")
    return found


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, SafetensorError, pl.exceptions.PolarsError) as error:
        raise DamagedRun(
            f"{file} cannot be read",
            got=(str(error).splitlines() or [type(error).__name__])[0],
            remedy="Run the scenario again.",
        ) from error
