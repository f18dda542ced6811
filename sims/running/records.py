"""The records of a run."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sims.engine.kept_rows import Stored
from sims.errors import RunDirectoryError, SimulationError
from sims.running.arrays import write_arrays
from sims.scenario import Scenario, to_toml
from topology.parsing import json_of

__all__ = ["Records", "ResultsDirectory", "RunDirectory", "digest_of", "machine", "versions"]

_BYTES_AT_ONCE = 1 << 24
_QUANTILES = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}


class Records:
    """Evaluations of a run, as rows of a table."""

    def __init__(self) -> None:
        self.evaluations: list[dict[str, Any]] = []
        self._nodes: list[pl.DataFrame] = []

    def add(
        self,
        at: Mapping[str, Any],
        measured: Mapping[str, NDArray[np.float64]],
        nodes: NDArray[np.int64] | None,
    ) -> dict[str, Any]:
        """Add an evaluation.

        Parameters
        ----------
        at : mapping
            The time, and totals up to then.
        measured : mapping of str to ndarray
            Measurements of each evaluated node, ``[k]``.
        nodes : ndarray, optional
            Their numbers, if the measurements of every node are to be kept too.

        Returns
        -------
        dict
            The new row.
        """
        row = dict(at)
        for name, values in measured.items():
            row |= {
                f"{name}_mean": float(values.mean()),
                f"{name}_std": float(values.std()),
                f"{name}_min": float(values.min()),
                f"{name}_max": float(values.max()),
            }
            quantiles = np.quantile(values, list(_QUANTILES.values()))
            row |= {f"{name}_{key}": float(value) for key, value in zip(_QUANTILES, quantiles, strict=True)}
        self.evaluations.append(row)
        if nodes is not None:
            columns = {"round": np.full(len(nodes), at["round"]), "node": nodes, **measured}
            self._nodes.append(pl.DataFrame(columns))
        return row

    @property
    def table(self) -> pl.DataFrame:
        """One row an evaluation."""
        return pl.DataFrame(self.evaluations, infer_schema_length=None)

    @property
    def nodes(self) -> pl.DataFrame | None:
        """One row an evaluation and node, if they are kept."""
        return pl.concat(self._nodes) if self._nodes else None

    def restore(self, table: pl.DataFrame, nodes: pl.DataFrame | None) -> None:
        """Continue the records of an earlier run."""
        self.evaluations = table.to_dicts()
        self._nodes = [] if nodes is None else [nodes]


class ResultsDirectory:
    """A directory of files, each replaced as a whole, so that it is always valid.

    Parameters
    ----------
    path : Path
    """

    error: type[SimulationError] = RunDirectoryError

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def replacing(self, name: str) -> Iterator[Path]:
        """Give a temporary file to write, which then takes the place of the one of this name.

        Raises
        ------
        RunDirectoryError, SweepDirectoryError
            If it cannot be written, as on a full disk: then the one of this name is what it was.
        """
        temporary = self.path / f".{name}.tmp"
        try:
            yield temporary
            temporary.replace(self.path / name)
        except (OSError, pl.exceptions.ComputeError) as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)  # what there is of it may be all the room there was
            raise self.error(
                f"{self.path / name} cannot be written",
                got=error,
                remedy="Make room there, or let it be written to; then go on with --resume: what was "
                "written before is still there.",
            ) from error

    def write_text(self, name: str, text: str) -> None:
        """Write a text file."""
        with self.replacing(name) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def write_table(self, name: str, table: pl.DataFrame) -> None:
        """Write a table as ``NAME.parquet``."""
        with self.replacing(f"{name}.parquet") as temporary:
            table.write_parquet(temporary)


class RunDirectory(ResultsDirectory):
    """The files of a run."""

    def create(self, scenario: Scenario) -> None:
        """Start a new run here.

        Raises
        ------
        RunDirectoryError
            If there is a run here already, or the directory cannot be made.
        """
        if (self.path / "scenario.toml").exists():
            raise RunDirectoryError(
                f"{self.path} already holds a run",
                remedy="Choose another directory, or continue that run with --resume.",
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.write_text("scenario.toml", to_toml(scenario))
        except (OSError, RunDirectoryError) as error:
            raise RunDirectoryError(
                f"{self.path} cannot be written to: {error.__cause__ or error}"
            ) from error

    def is_finished(self) -> bool:
        """Whether the run here finished."""
        try:
            summary = json_of((self.path / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return isinstance(summary, dict) and summary.get("finished") is True

    def write_records(self, records: Records) -> None:
        """Write the evaluations so far."""
        self.write_table("evaluations", records.table)
        if records.nodes is not None:
            self.write_table("nodes", records.nodes)

    def write_arrays(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write arrays as safetensors."""
        with self.replacing(name) as temporary:
            write_arrays(temporary, arrays)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write what was run, on which machine, and how it ended."""
        self.write_text("run.json", json.dumps(summary, indent=2) + "\n")


def digest_of(models: Sequence[Stored | NDArray[np.generic]], ages: NDArray[np.int64]) -> dict[str, str]:
    """Return the SHA-256 of a run's models and their ages, equal for equal runs on machines that round alike."""
    found = hashlib.sha256()
    for array in (*models, ages):
        dtype, shape, parts = array if isinstance(array, Stored) else (array.dtype, array.shape, [array])
        found.update(f"{dtype.str}{shape}".encode())
        for part in parts:
            at_once = max(1, _BYTES_AT_ONCE // max(1, part[:1].nbytes))
            for start in range(0, len(part), at_once):  # a part that is no whole memory is copied for it
                found.update(np.ascontiguousarray(part[start : start + at_once]).data)
    return {"sha256": found.hexdigest()}


def versions() -> dict[str, str]:
    """Versions of the software that computed a run."""
    found = {"python": platform.python_version()}
    for name in ("gossipfl", "torch", "numpy", "numba", "scipy", "polars"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def machine() -> dict[str, Any]:
    """The machine a run was computed on."""
    return {"system": platform.platform(), "processor": platform.machine(), "cores": os.cpu_count()}
