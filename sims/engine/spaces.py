"""Places of tables of rows: memory, or files of which only what is used needs memory."""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path
from typing import IO, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.machine import available_memory
from sims.errors import NotEnoughDisk

__all__ = ["InFiles", "InMemory", "Space", "space_left"]

Shape = tuple[int, ...]
_LEFT_FREE = 1 << 28  # bytes: whoever writes to a full disk through memory is ended by the system
_AT_ONCE = 1 << 26


class Space(Protocol):
    """Makes tensors whose first dimension may become longer."""

    def of(self, places: int, shape: Shape, dtype: torch.dtype) -> Tensor:
        """Zeros ``[places, *shape]``, of at least one place."""
        ...

    def longer(self, tensor: Tensor, more: int) -> Tensor:
        """The same, and so many more zeros."""
        ...

    def holding(self, tensor: Tensor, values: NDArray[np.generic], among: NDArray[np.bool_]) -> Tensor:
        """Other values, of which those among the first that are named count; all if none are named."""
        ...

    def expect(self, tensor: Tensor, places: NDArray[np.int64]) -> None:
        """Say that these places, ascending, are next."""
        ...


class InMemory:
    """Tensors in the memory of a device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def of(self, places: int, shape: Shape, dtype: torch.dtype) -> Tensor:
        """Zeros ``[places, *shape]``."""
        return torch.zeros(places, *shape, dtype=dtype, device=self._device)

    def longer(self, tensor: Tensor, more: int) -> Tensor:
        """The same, and so many more zeros."""
        return torch.cat([tensor, tensor.new_zeros(more, *tensor.shape[1:])])

    def holding(self, tensor: Tensor, values: NDArray[np.generic], among: NDArray[np.bool_]) -> Tensor:
        """The values, in place of the tensor."""
        del tensor, among
        return torch.from_numpy(values).to(self._device)

    def expect(self, tensor: Tensor, places: NDArray[np.int64]) -> None:
        """Nothing: all of it is there."""


class InFiles:
    """Tensors that are files without a name, which are gone with the process that uses them.

    What is not used is on disk, and what was never written is nowhere: files are sparse.

    Parameters
    ----------
    directory : Path

    Raises
    ------
    NotEnoughDisk
        If the directory is none, or has no room.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[int, tuple[IO[bytes], mmap.mmap]] = {}  # by the address of their tensors
        space_left(directory)

    def of(self, places: int, shape: Shape, dtype: torch.dtype) -> Tensor:
        """Zeros ``[places, *shape]``."""
        try:
            file = tempfile.TemporaryFile(dir=self._directory)  # noqa: SIM115  (it lasts as long as the tensor)
            return self._mapped(file, places, shape, dtype)
        except OSError as error:
            raise NotEnoughDisk(f"no file can be made in {self._directory}", got=str(error)) from error

    def _mapped(self, file: IO[bytes], places: int, shape: Shape, dtype: torch.dtype) -> Tensor:
        """A file as a tensor, made longer if need be."""
        count = places * int(np.prod(shape))
        os.ftruncate(file.fileno(), count * dtype.itemsize)
        whole = mmap.mmap(file.fileno(), 0)
        whole.madvise(mmap.MADV_RANDOM)
        tensor = torch.frombuffer(whole, dtype=dtype)[:count].view(places, *shape)
        self._files[tensor.data_ptr()] = (file, whole)
        return tensor

    def longer(self, tensor: Tensor, more: int) -> Tensor:
        """The same file, and so many more zeros."""
        file, _ = self._files.pop(tensor.data_ptr())
        return self._mapped(file, len(tensor) + more, tuple(tensor.shape[1:]), tensor.dtype)

    def holding(self, tensor: Tensor, values: NDArray[np.generic], among: NDArray[np.bool_]) -> Tensor:
        """The tensor, with values written to it a few at a time."""
        longer = self.longer(tensor, len(values) - len(tensor))
        chosen = np.flatnonzero(among) if len(among) else np.arange(len(values))
        at_once = max(1, _AT_ONCE // max(1, longer[:1].nbytes))
        for start in range(0, len(chosen), at_once):
            part = chosen[start : start + at_once]
            self._require_room(len(part) * longer[:1].nbytes)
            longer[torch.from_numpy(part)] = torch.from_numpy(values[part])
        return longer

    def expect(self, tensor: Tensor, places: NDArray[np.int64]) -> None:
        """Have these places read ahead, in order, and require that there is room to write them."""
        each = tensor[:1].nbytes
        self._require_room(len(places) * each)
        file, whole = self._files[tensor.data_ptr()]
        if len(whole) <= available_memory() // 2:  # then mostly it is there
            return
        for start in (places * each).tolist():
            os.posix_fadvise(file.fileno(), start, each, os.POSIX_FADV_WILLNEED)

    def _require_room(self, wanted: int) -> None:
        left = space_left(self._directory)
        if left < wanted + _LEFT_FREE:
            raise NotEnoughDisk(
                f"the disk of {self._directory} is full",
                expected=f"{(wanted + _LEFT_FREE) >> 20} MiB for the next models, and to spare",
                got=f"{left >> 20} MiB",
                remedy="Make room, and go on from the last checkpoint.",
            )


def space_left(directory: Path) -> int:
    """Bytes that may still be written in a directory.

    Raises
    ------
    NotEnoughDisk
        If there is no such directory.
    """
    try:
        found = os.statvfs(directory)
    except OSError as error:
        raise NotEnoughDisk(
            f"engine.paged_to: {directory} is no directory",
            expected="one on a fast disk with room for all rows",
            got=error.strerror,
        ) from error
    return found.f_bavail * found.f_frsize
