"""Samples that stay on disk: memory-mapped files, and data sets that are read sample by sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.utils.data import default_collate

from gossipfl.errors import InvalidTask
from gossipfl.tasks.failures import failures_named
from gossipfl.tasks.samples import Tree, describe, leaves, map_leaves
from topology.arrays import load_npy

__all__ = ["MapStyle", "Reader", "StoredSamples", "open_arrays", "padded"]


class MapStyle(Protocol):
    """A ``torch.utils.data.Dataset``, or one of Hugging Face's: any sample by its number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any: ...  # noqa: ANN401


@dataclass
class Reader:
    """Reads batches of a map-style data set.

    Parameters
    ----------
    samples : MapStyle
        Of pairs (inputs, targets), or of dictionaries of which one entry is the targets.
    targets : str, optional
        That entry.
    collate : callable, optional
        Makes inputs and targets ``[S, ...]`` from a list of S pairs; by default torch's ``default_collate``.
    """

    samples: MapStyle
    targets: str | None = None
    collate: Callable[[list[tuple[Any, Any]]], tuple[Tree, Tree]] | None = None
    _last: tuple[bytes, tuple[Tree, Tree]] | None = field(default=None, repr=False)

    def batch(self, index: NDArray[np.int64]) -> tuple[Tree, Tree]:
        """Read inputs and targets of some samples; the last batch is kept, as they are asked for in turn."""
        key, last = index.tobytes(), self._last
        if last is not None and last[0] == key:
            return last[1]
        pairs = [self._pair(int(place)) for place in index]
        inputs, targets = self._collated(pairs)
        self._last = key, (inputs, targets)
        return inputs, targets

    def _pair(self, place: int) -> tuple[Any, Any]:
        with failures_named(f"sample {place} of a stored data set could not be read"):
            sample = self.samples[place]
        if self.targets is not None and isinstance(sample, dict) and self.targets in sample:
            inputs = {name: _as_tensor(value) for name, value in sample.items() if name != self.targets}
            return inputs, _as_tensor(sample[self.targets])
        if self.targets is None and isinstance(sample, tuple | list) and len(sample) == 2:
            return sample[0], sample[1]
        raise InvalidTask(
            f"sample {place} of a stored data set has another form",
            expected="a pair (inputs, targets)"
            if self.targets is None
            else f"a dictionary with {self.targets!r}",
            got=f"keys {sorted(sample)}" if isinstance(sample, dict) else type(sample).__name__,
            remedy="Say which entry is the targets: Dataset.stored(..., targets='label').",
        )

    def _collated(self, pairs: list[tuple[Any, Any]]) -> tuple[Tree, Tree]:
        try:
            inputs, targets = (self.collate or default_collate)(pairs)
        except Exception as error:
            raise InvalidTask(
                "samples of a stored data set cannot be put together",
                got=f"{type(error).__name__}: {error}",
                remedy="For sequences of different lengths give collate=, e.g. with gossipfl.tasks.padded.",
            ) from error
        found = leaves((inputs, targets))
        if not all(isinstance(leaf, Tensor) and leaf.dim() and len(leaf) == len(pairs) for leaf in found):
            raise InvalidTask(
                "samples of a stored data set were put together to something else",
                expected=f"tensors of {len(pairs)} samples",
                got=describe((inputs, targets)),
            )
        return inputs, targets


@dataclass(frozen=True)
class StoredSamples:
    """Inputs, or targets, of samples that are read when they are needed.

    Parameters
    ----------
    reader : Reader
    place : {0, 1}
        Inputs or targets.
    index : ndarray
        Which samples of the reader, int64.
    then : callable, optional
        Applied to each tensor that was read.
    """

    reader: Reader
    place: int
    index: NDArray[np.int64]
    then: Callable[[Tensor], Tensor] | None = None

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, chosen: Any) -> Tree:  # noqa: ANN401 - whatever indexes a tensor
        """Read samples, ``[..., *sample]`` for an index of any shape."""
        index = self.index[np.asarray(chosen)]
        read = self.reader.batch(index.reshape(-1))[self.place]
        if index.ndim != 1:
            read = map_leaves(lambda leaf: leaf.reshape(*index.shape, *leaf.shape[1:]), read)
        return read if self.then is None else map_leaves(self.then, read)

    def subset(self, chosen: NDArray[np.int64]) -> StoredSamples:
        """Some of the samples, read as late as these."""
        return StoredSamples(self.reader, self.place, self.index[chosen], self.then)


def open_arrays(file: Path | str) -> dict[str, Tensor]:
    """Open the tensors of a ``.npy`` or ``.safetensors`` file without reading them.

    They are memory-mapped: only what is indexed is read, and nothing else is held.

    Parameters
    ----------
    file : Path or str

    Returns
    -------
    dict of str to Tensor
        By name; of a ``.npy`` file under the file's own name without suffix.

    Raises
    ------
    InvalidTask
        If the file cannot be read, or holds something else.
    """
    path = Path(file)
    try:
        if path.suffix == ".npy":  # copied when written to, so that nobody changes the file
            return {path.stem: torch.from_numpy(load_npy(path, mmap_mode="c"))}
        with safe_open(path, framework="pt") as arrays:
            return {name: arrays.get_tensor(name) for name in arrays.keys()}  # noqa: SIM118 - it is not a mapping
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise InvalidTask(
            f"the samples {path} cannot be opened",
            expected="a .npy file of numbers, or a .safetensors file",
            got=f"{type(error).__name__}: {error}",
        ) from error


def padded(sequences: Sequence[Any], *, value: float = 0) -> tuple[Tensor, Tensor]:
    """Make one tensor of sequences of different lengths.

    Parameters
    ----------
    sequences : sequence of array-like
        Shape ``[length, ...]`` each, at least one.
    value : float
        Value to fill shorter ones with.

    Returns
    -------
    values : Tensor
        Shape ``[n, longest, ...]``.
    mask : Tensor
        Shape ``[n, longest]``, bool: true where there is a value.

    Raises
    ------
    InvalidTask
        If there is none, or they differ in more than their lengths.
    """
    with failures_named(
        "sequences cannot be padded", remedy="Give at least one, each of [length, ...] numbers."
    ):
        rows = [_as_tensor(sequence) for sequence in sequences]
        values = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=value)
    lengths = torch.tensor([len(row) for row in rows])
    return values, torch.arange(values.shape[1]) < lengths[:, None]


def _as_tensor(value: Any) -> Tensor:  # noqa: ANN401 - whatever a data set holds
    return value if isinstance(value, Tensor) else torch.as_tensor(np.asarray(value))
