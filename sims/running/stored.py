"""A run's records, read from its directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sims.errors import RunDirectoryError
from sims.running.result import Recorded
from sims.scenario import load_scenario
from topology.parsing import json_of

__all__ = ["load_run"]


def load_run(directory: Path | str) -> Recorded:
    """Read a run that has finished, was interrupted, or is still under way.

    Parameters
    ----------
    directory : path
        As given to ``out`` of `sims.run`, or one below ``runs`` of a sweep.

    Raises
    ------
    RunDirectoryError
        If it holds no run, nothing has been measured yet, or a file is damaged.
    InvalidScenario
        If its scenario is not one of this version.

    Examples
    --------
    >>> import sims
    >>> try:
    ...     sims.load_run("nowhere")
    ... except sims.errors.RunDirectoryError as error:
    ...     print(str(error).partition(";")[0])
    nowhere holds no run
    """
    path = Path(directory)
    if not (path / "scenario.toml").is_file():
        raise RunDirectoryError(
            f"{path} holds no run",
            expected="a directory with scenario.toml and evaluations.parquet",
            remedy="A sweep has its runs in the directories below runs.",
        )
    evaluations = _table(path / "evaluations.parquet")
    if evaluations is None:
        raise RunDirectoryError(f"nothing has been measured yet of the run in {path}")
    summary = _summary(path / "run.json")
    return Recorded(
        scenario=load_scenario(path / "scenario.toml"),
        evaluations=evaluations,
        nodes=_table(path / "nodes.parquet"),
        rows=_rows(path / "rows.safetensors"),
        finished=summary.get("finished") is True,
        summary=summary,
    )


def _table(file: Path) -> pl.DataFrame | None:
    try:
        return pl.read_parquet(file) if file.is_file() else None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _damaged(file, error) from error


def _summary(file: Path) -> dict[str, Any]:
    try:
        found = json_of(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except ValueError as error:
        raise _damaged(file, error) from error
    return found if isinstance(found, dict) else {}


def _rows(file: Path) -> Tensor | None:
    try:
        return load_file(file)["rows"] if file.is_file() else None
    except (SafetensorError, KeyError, OSError) as error:
        raise _damaged(file, error) from error


def _damaged(file: Path, error: Exception) -> RunDirectoryError:
    return RunDirectoryError(
        f"{file} is damaged: {error}", remedy="Start the run again in another directory."
    )
