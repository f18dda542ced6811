"""Places of tables of rows: memory, or files of which only what is used needs memory."""

from __future__ import annotations

import errno
import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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
_AT_ONCE = 1 << 26


class Space(Protocol):
    """Makes tensors whose first dimension may become longer."""

    @property
    def sparse(self) -> bool:
        """Whether places must be begun before they are written: they take nothing until then."""
        ...

    def of(self, places: int, shape: Shape, dtype: torch.dtype, *, begun: bool = False) -> Tensor:
        """Zeros ``[places, *shape]``, of at least one place; all of them begun, or none."""
        ...

    def longer(self, tensor: Tensor, more: int) -> Tensor:
        """The same, and so many more zeros, all begun."""
        ...

    def holding(self, tensor: Tensor, values: NDArray[np.generic], among: NDArray[np.bool_]) -> Tensor:
        """Other values; of the first those that are named count and are begun, or all if none are named."""
        ...

    def begin(self, tensor: Tensor, places: NDArray[np.int64], values: Tensor) -> None:
        """Begin places, ascending, with values ``[k, ...]``, or all with one."""
        ...

    def expect(self, tensor: Tensor, places: NDArray[np.int64]) -> None:
        """Say that these places, ascending, are next."""
        ...


class InMemory:
    """Tensors in the memory of a device."""

    sparse = False

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def of(self, places: int, shape: Shape, dtype: torch.dtype, *, begun: bool = False) -> Tensor:
        """Zeros ``[places, *shape]``."""
        del begun
        return torch.zeros(places, *shape, dtype=dtype, device=self._device)

    def longer(self, tensor: Tensor, more: int) -> Tensor:
        """The same, and so many more zeros."""
        return torch.cat([tensor, tensor.new_zeros(more, *tensor.shape[1:])])

    def holding(self, tensor: Tensor, values: NDArray[np.generic], among: NDArray[np.bool_]) -> Tensor:
        """The values, in place of the tensor."""
        del tensor, among
        return torch.from_numpy(values).to(self._device)

    def begin(self, tensor: Tensor, places: NDArray[np.int64], values: Tensor) -> None:
        """Write values to places."""
        tensor[torch.from_numpy(places).to(self._device)] = values.to(self._device)

    def expect(self, tensor: Tensor, places: NDArray[np.int64]) -> None:
        """Nothing: all of it is there."""


class InFiles:
    """Tensors that are files without a name, which are gone with the process that uses them.

    What is not used is on disk, and what was never begun is nowhere: files are sparse. Where a disk or a quota is
    full, the system ends a process that writes through memory to a place without a block. So places are begun by
    writing to the file, or by reserving its blocks, and a full disk is an error like others.

    Parameters
    ----------
    directory : Path

    Raises
    ------
    NotEnoughDisk
        If the directory is none, or a file in it can be neither made nor longer: the disk is full, or a quota or a
        limit on the size of files is reached.
    """

    sparse = True

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[int, tuple[IO[bytes], mmap.mmap]] = {}  # by the address of their tensors
        space_left(directory)

    def of(self, places: int, shape: Shape, dtype: torch.dtype, *, begun: bool = False) -> Tensor:
        """Zeros ``[places, *shape]``, of which all have blocks, or none."""
        with self._named():
            file = tempfile.TemporaryFile(dir=self._directory)  # noqa: SIM115  (it lasts as long as the tensor)
            size = places * int(np.prod(shape)) * dtype.itemsize
            if begun:
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                os.ftruncate(file.fileno(), size)
            return self._mapped(file, places, shape, dtype)

    def _mapped(self, file: IO[bytes], places: int, shape: Shape, dtype: torch.dtype) -> Tensor:
        """A file as a tensor."""
        count = places * int(np.prod(shape))
        whole = mmap.mmap(file.fileno(), 0)
        whole.madvise(mmap.MADV_RANDOM)
        tensor = torch.frombuffer(whole, dtype=dtype)[:count].view(places, *shape)
        self._files[tensor.data_ptr()] = (file, whole)
        return tensor

    def longer(self, tensor: Tensor, more: int) -> Tensor:
        """The same file, and blocks of so many more zeros."""
        if not more:
            return tensor
        file, _ = self._files[tensor.data_ptr()]
        with self._named():
            os.posix_fallocate(file.fileno(), tensor.nbytes, more * tensor[:1].nbytes)
            longer = self._mapped(file, len(tensor) + more, tuple(tensor.shape[1:]), tensor.dtype)
        if longer.data_ptr() != tensor.data_ptr():
            del self._files[tensor.data_ptr()]
        return longer

    def holding(self, tensor: Tensor, values: NDArray[np.generic], among: NDArray[np.bool_]) -> Tensor:
        """The tensor, with values written to its file a few at a time."""
        longer = self.longer(tensor, len(values) - len(tensor))
        chosen = np.flatnonzero(among) if len(among) else np.arange(len(values))
        at_once = max(1, _AT_ONCE // max(1, longer[:1].nbytes))
        for start in range(0, len(chosen), at_once):
            part = chosen[start : start + at_once]
            self.begin(longer, part, torch.from_numpy(values[part]))
        return longer

    def begin(self, tensor: Tensor, places: NDArray[np.int64], values: Tensor) -> None:
        """Write values to the file at places, which then have blocks."""
        file, _ = self._files[tensor.data_ptr()]
        each, alike = tensor[:1].nbytes, len(values) == 1
        given = values.contiguous().view(-1).view(torch.uint8).numpy().data
        at_once, done = max(1, _AT_ONCE // max(1, each)), 0
        with self._named():
            for first, last in _runs(places):
                for start in range(first, last, at_once):
                    count = min(start + at_once, last) - start
                    these = bytes(given) * count if alike else given[done * each : (done + count) * each]
                    _write(file, these, start * each)
                    done += count

    def expect(self, tensor: Tensor, places: NDArray[np.int64]) -> None:
        """Have these places read ahead, in order."""
        each = tensor[:1].nbytes
        file, whole = self._files[tensor.data_ptr()]
        if len(whole) <= available_memory() // 2:  # then mostly it is there
            return
        for start in (places * each).tolist():
            os.posix_fadvise(file.fileno(), start, each, os.POSIX_FADV_WILLNEED)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Name what the system says of a file that it cannot make or write."""
        try:
            yield
        except OSError as error:
            left = space_left(self._directory)
            raise NotEnoughDisk(
                f"engine.paged_to: no more models can be written to {self._directory}",
                expected="room for those of all nodes that wake, and for those on their way",
                got=f"{error.strerror}, with {left >> 20} MiB free",
                remedy=_REMEDIES.get(error.errno or 0, _MAKE_ROOM),
            ) from error


_MAKE_ROOM = (
    "Make room there, and resume from the last checkpoint if there is one, or choose another directory."
)
_ELSEWHERE = "Choose a directory that you may write to."
_REMEDIES = {
    errno.EACCES: _ELSEWHERE,
    errno.EPERM: _ELSEWHERE,
    errno.EROFS: _ELSEWHERE,
    errno.EDQUOT: f"Your quota there is used up. {_MAKE_ROOM}",
    errno.EFBIG: "Files may not become so large: raise the limit (`ulimit -f`), or choose another directory.",
    errno.ENOMEM: "The process may not map so large a file: raise the limit (`ulimit -v`).",
}


def _runs(places: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of ascending places that follow one another."""
    if len(places):
        ends = np.flatnonzero(np.diff(places) != 1)
        firsts, lasts = places[np.r_[0, ends + 1]], places[np.r_[ends, len(places) - 1]]
        yield from zip(firsts.tolist(), (lasts + 1).tolist(), strict=True)


def _write(file: IO[bytes], values: bytes | memoryview, start: int) -> None:
    """Write all of it, for a system may write less than it was given."""
    left = memoryview(values)
    while left:
        written = os.pwrite(file.fileno(), left, start)
        left, start = left[written:], start + written


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
