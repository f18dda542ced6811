"""Checkpoints: everything that a peer needs to continue as if it had never stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xxhash
from safetensors import SafetensorError, safe_open
from torch import Tensor

from gossipfl.errors import CorruptCheckpoint
from gossipfl.files import named_errors, write_atomically
from gossipfl.rows import relaid
from gossipfl.tasks import Task
from gossipfl.training import Nodes
from topology.parsing import json_of

__all__ = ["Checkpoint", "left_out_of", "load_checkpoint", "read_row", "save_checkpoint"]

_FORMAT = "gossipfl checkpoint 1"
_AUXILIARY = "auxiliary."
_DTYPES = {
    torch.float32: "F32",
    torch.float64: "F64",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.bool: "BOOL",
}
_OPTIMISER_STATE = "momentum"  # the name in older files, before other optimisers existed
_WRONG = (KeyError, OverflowError, RuntimeError, TypeError, ValueError)  # what wrong values raise


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A peer's state at one moment.

    Parameters
    ----------
    nodes : Nodes
        The row with its age, step counter, optimiser state and auxiliary rows, ``B = 1``.
    event : int
        Number of the last event (merge or training) that changed the row.
    merges_pending : int
        Models merged since the last training.
    incarnation : int
        Number of the start that saved it.
    random_state : dict
        State of the generator for choosing neighbours (``numpy.random.Generator.bit_generator.state``).
    view : list
        Known peers, as plain values.
    rounds : str or None
        Round-based algorithm that made it, whose next round is ``event``; None if the peer gossips.
    saved_at : float or None
        Seconds since 1970; None in older files.
    """

    nodes: Nodes
    event: int
    merges_pending: int
    incarnation: int
    random_state: dict[str, Any]
    view: list[dict[str, Any]]
    rounds: str | None = None
    saved_at: float | None = None

    @property
    def age(self) -> int:
        """Age of the saved model."""
        return int(self.nodes.ages.max())

    def without_model(self) -> Checkpoint:
        """Return the rest, for longer than a large model should stay in memory."""
        nodes = self.nodes
        return replace(
            self,
            nodes=replace(
                nodes,
                rows=nodes.rows.new_empty(1, 0),
                optimiser_state=nodes.rows.new_empty(1, 0),
                auxiliary={},
            ),
        )

    def away_seconds(self, *, now: float) -> float:
        """Return the seconds since it was saved; 0 if unknown, or if the clock went back."""
        return 0.0 if self.saved_at is None else max(0.0, now - self.saved_at)


def _checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Return the digest of tensors and metadata: a flipped bit in the age is as bad as one in the row."""
    digest = xxhash.xxh3_64()
    for name in sorted(tensors):
        digest.update(tensors[name].contiguous().numpy().reshape(-1).data)
    for key in ("format", "task", "layout", "state"):
        digest.update(metadata.get(key, "").encode())
    return digest.hexdigest()


def save_checkpoint(path: Path, checkpoint: Checkpoint, task: Task) -> None:
    """Write a checkpoint: temporary file, fsync, rename.

    Raises
    ------
    OSError
        The disk failed; the previous checkpoint is still there.
    """
    nodes = checkpoint.nodes
    tensors = {"row": nodes.rows[0].contiguous(), _OPTIMISER_STATE: nodes.optimiser_state[0].contiguous()}
    # Auxiliary rows may be one tensor under two names, but safetensors refuses shared memory.
    tensors |= {
        f"{_AUXILIARY}{name}": each.clone(memory_format=torch.contiguous_format)
        for name, each in nodes.auxiliary.items()
    }
    metadata = {
        "format": _FORMAT,
        "task": task.fingerprint.hex(),
        "layout": task.layout.digest.hex(),
        "state": json.dumps(
            {
                "age": checkpoint.age,
                "ages": nodes.ages[0].tolist() if nodes.ages.dim() > 1 else None,
                "step": int(checkpoint.nodes.steps[0]),
                "event": checkpoint.event,
                "merges_pending": checkpoint.merges_pending,
                "incarnation": checkpoint.incarnation,
                "random_state": checkpoint.random_state,
                "view": checkpoint.view,
                "rounds": checkpoint.rounds,
                "saved_at": checkpoint.saved_at,
                **({"left_out": sorted(task.constant)} if task.constant else {}),
            }
        ),
    }
    metadata["checksum"] = _checksum(tensors, metadata)
    write_atomically(path, *_file_of(tensors, metadata))


def _file_of(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> list[bytes | memoryview]:
    """The parts of a safetensors file; the tensors' are their own memory, since models may be large."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.nbytes
        header[name] = {
            "dtype": _DTYPES[tensor.dtype],
            "shape": [*tensor.shape],
            "data_offsets": [start, end],
        }
    packed = json.dumps(header).encode()
    packed += b" " * (-len(packed) % 8)  # so that tensors are aligned
    data = [tensor.numpy().reshape(-1).data for tensor in tensors.values() if tensor.numel()]
    return [len(packed).to_bytes(8, "little"), packed, *data]


def load_checkpoint(path: Path, task: Task, *, optimiser_state_size: int) -> Checkpoint:
    """Read a checkpoint, and check that it is complete and belongs to the task.

    Raises
    ------
    CorruptCheckpoint
        It is damaged, or belongs to another task or layout.
    HomeError
        It cannot be read at all.
    """
    tensors, metadata = _read(path)
    for name, own, is_own in (
        ("task", task.fingerprint, task.is_known_as(metadata.get("task", ""))),
        ("layout", task.layout.digest, metadata.get("layout") == task.layout.digest.hex()),
    ):
        if not is_own:
            raise CorruptCheckpoint(
                f"the checkpoint {path} belongs to another {name}",
                expected=own.hex()[:16],
                got=str(metadata.get(name))[:16],
                remedy="Use the settings it was made with, or another --home for the new task.",
            )
    try:
        state = json_of(metadata["state"])
        tensors = _in_layout(path, tensors, _left_out(state), task)
        nodes = Nodes(
            rows=tensors["row"][None],
            ages=_ages(state),
            steps=torch.tensor([_counter(state["step"])]),
            optimiser_state=tensors[_OPTIMISER_STATE][None],
            auxiliary={
                name.removeprefix(_AUXILIARY): tensor
                for name, tensor in tensors.items()
                if name.startswith(_AUXILIARY)
            },
        )
        if nodes.rows.shape != (1, task.layout.size):
            raise _damaged(path, f"a row of {tuple(tensors['row'].shape)}")
        return Checkpoint(
            nodes=nodes.with_optimiser_state(optimiser_state_size),  # the optimiser may have changed since
            event=_counter(state["event"]),
            merges_pending=_counter(state["merges_pending"]),
            incarnation=_counter(state["incarnation"]),
            random_state=_random_state(state["random_state"]),
            view=list(state["view"]),
            rounds=state.get("rounds"),
            saved_at=None if state.get("saved_at") is None else float(state["saved_at"]),
        )
    except _WRONG as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error


def _left_out(state: Mapping[str, Any]) -> frozenset[str]:
    """Names of frozen parameters and buffers that the rows of a file leave out; none in older files."""
    names = state.get("left_out", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"expected a list of names left out, got {str(names)[:30]}")
    return frozenset(names)


def _in_layout(
    path: Path, tensors: dict[str, Tensor], left_out: frozenset[str], task: Task
) -> dict[str, Tensor]:
    """The tensors with whole rows as the task lays them out, wherever the file has more or less of what stays."""
    if left_out == task.constant:
        return tensors
    whole = first, layout = task.whole_row()
    before, after = layout.without(left_out), task.layout
    unknown = left_out - {entry.name for entry in layout.entries if entry.group == "untrained"}
    if unknown or tensors["row"].shape != (before.size,):
        raise ValueError(f"expected a row of {before.size} without {sorted(left_out)[:3]}")
    fresh = relaid(first, layout, before, whole=whole)
    for entry in before.entries:
        place = slice(entry.offset, entry.offset + entry.size)
        if entry.name in task.constant and not torch.equal(tensors["row"][place], fresh[place]):
            raise CorruptCheckpoint(
                f"the checkpoint {path} has other frozen numbers than the task at {entry.name!r}",
                expected="those that the model begins with, as nothing trains them",
                remedy="Use the model it was made with, or another --home for the new one.",
            )
    rows = {
        name
        for name, each in tensors.items()
        if each.dim() and each.shape[-1] == before.size and name != _OPTIMISER_STATE
    }
    return tensors | {name: relaid(tensors[name], before, after, whole=whole) for name in rows}


def left_out_of(path: Path) -> frozenset[str]:
    """Names of frozen parameters and buffers that the rows of a checkpoint leave out.

    Raises
    ------
    CorruptCheckpoint, HomeError
        As in `read_row`.
    """
    _, metadata = _read(path)
    try:
        return _left_out(json_of(metadata["state"]))
    except _WRONG as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error


def read_row(path: Path) -> tuple[Tensor, int]:
    """Read a checkpoint's row (shape ``[D]``, float32) and age, whatever its task; without what is left out.

    Raises
    ------
    CorruptCheckpoint
        It is damaged.
    HomeError
        It cannot be read at all.
    """
    tensors, metadata = _read(path)
    try:
        return tensors["row"], int(json_of(metadata["state"])["age"])
    except _WRONG as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    # safetensors reports any file it cannot open as damaged, and users may delete a damaged one.
    with named_errors(f"the checkpoint {path} cannot be read"), path.open("rb"):
        pass
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            held = file.keys()
            names = {"row", _OPTIMISER_STATE, *(name for name in held if name.startswith(_AUXILIARY))}
            tensors = {name: file.get_tensor(name).clone() for name in names}
    except (OSError, SafetensorError) as error:
        raise _damaged(path, str(error)) from error
    if metadata.get("format") != _FORMAT:
        raise _damaged(path, f"format {metadata.get('format')!r}")
    if metadata.get("checksum") != _checksum(tensors, metadata):
        raise _damaged(path, "a different checksum")
    return tensors, metadata


def _counter(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"expected a number below 2**63, got {str(value)[:30]}")
    return value


def _ages(state: Mapping[str, Any]) -> Tensor:
    """Return the age of a row, or those of its parts."""
    age, ages = _counter(state["age"]), state.get("ages")
    if ages is None:
        return torch.tensor([age])
    if max(ages) != age:
        raise ValueError(f"expected ages up to {age}, got {str(ages)[:30]}")
    return torch.tensor([[_counter(each) for each in ages]])


def _random_state(values: dict[str, Any]) -> dict[str, Any]:
    """Return the state of a generator, which one has accepted."""
    np.random.Generator(np.random.PCG64()).bit_generator.state = values
    return dict(values)


def _damaged(path: Path, found: str) -> CorruptCheckpoint:
    return CorruptCheckpoint(
        f"the checkpoint {path} is damaged",
        expected=f"a complete file of format {_FORMAT!r}",
        got=found,
        remedy="Restore it from a backup, or delete it: the peer starts afresh and learns from its neighbours.",
    )
