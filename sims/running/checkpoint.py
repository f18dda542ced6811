"""Checkpoints of a run: all state that changes, in one file."""

from __future__ import annotations

import io

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from sims.engine.engine import Arrays
from sims.errors import RunDirectoryError
from sims.running.arrays import mapped_arrays
from sims.running.records import Records, RunDirectory

__all__ = ["CHECKPOINT", "read_checkpoint", "write_checkpoint"]

CHECKPOINT = "checkpoint.safetensors"
"""Name of the file in the directory of a run."""


def write_checkpoint(directory: RunDirectory, arrays: Arrays, records: Records, *, done: int) -> None:
    """Write a checkpoint, replacing an earlier one as a whole."""
    tables = {"records.evaluations": records.table, "records.nodes": records.nodes}
    packed = {name: _packed(table) for name, table in tables.items() if table is not None}
    directory.write_arrays(CHECKPOINT, {**arrays, **packed, "records.done": np.array([done])})


def read_checkpoint(
    directory: RunDirectory, *, mapped: bool = False
) -> tuple[Arrays, pl.DataFrame, pl.DataFrame | None, int]:
    """Read the checkpoint of a run.

    Parameters
    ----------
    directory : RunDirectory
    mapped : bool
        Whether rows stay in the file until they are used.

    Returns
    -------
    arrays : dict
        State of the simulation.
    evaluations, nodes : polars.DataFrame
        Records until then.
    done : int
        Evaluations done.

    Raises
    ------
    RunDirectoryError
        If there is no checkpoint, or it is damaged.
    """
    file = directory.path / CHECKPOINT
    if not file.is_file():
        raise RunDirectoryError(
            f"{directory.path} holds no checkpoint",
            remedy="Runs are checkpointed when they are interrupted, and with output.checkpoint_every.",
        )
    try:
        arrays: Arrays = mapped_arrays(file) if mapped else load_file(file)
        if mapped:  # all but rows is written to
            arrays = {
                name: each if name.startswith("rows") else np.array(each) for name, each in arrays.items()
            }
        done = int(arrays.pop("records.done")[0])
        evaluations = _unpacked(arrays.pop("records.evaluations"))
        packed = arrays.pop("records.nodes", None)
        nodes = None if packed is None else _unpacked(packed)
    except (SafetensorError, KeyError, OSError, pl.exceptions.PolarsError) as error:
        raise RunDirectoryError(f"{file} is damaged: {error}", remedy="Start the run again.") from error
    return arrays, evaluations, nodes, done


def _packed(table: pl.DataFrame) -> NDArray[np.uint8]:
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    return np.frombuffer(buffer.getvalue(), dtype=np.uint8)


def _unpacked(array: NDArray[np.generic]) -> pl.DataFrame:
    return pl.read_parquet(io.BytesIO(array.tobytes()))
