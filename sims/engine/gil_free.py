"""Compiled programmes called without the interpreter's lock, so that cores can work side by side.

torch's own loader holds the lock for the whole call. The library inside a compiled package has a C interface
(``AOTInductorModelContainer…``), and foreign functions are called without the lock. Whoever uses this compares a
first result with that of torch's loader, and stays with the latter if anything is not as expected.
"""

from __future__ import annotations

import ctypes
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

__all__ = ["Unlocked", "pointers_of", "tensors_of", "unlocked_runners"]

_PREFIX = "AOTInductorModelContainer"


class Unlocked:
    """One instance of a compiled programme; each thread has its own.

    Parameters
    ----------
    library : ctypes.CDLL
        The shared library of a compiled package.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._run = getattr(library, f"{_PREFIX}Run")
        self._handle = ctypes.c_void_p()
        create = getattr(library, f"{_PREFIX}CreateWithDevice")
        _check(create(ctypes.byref(self._handle), ctypes.c_size_t(1), ctypes.c_char_p(b"cpu"), None))
        count = ctypes.c_size_t()
        _check(getattr(library, f"{_PREFIX}GetNumOutputs")(self._handle, ctypes.byref(count)))
        self._outputs = (ctypes.c_void_p * count.value)()
        self._delete = getattr(library, f"{_PREFIX}Delete")
        self._alone = getattr(library, f"{_PREFIX}RunSingleThreaded")

    @property
    def container(self) -> int:
        """Address of the instance."""
        return self._handle.value or 0

    @property
    def run(self) -> int:
        """Address of its function ``(container, inputs, count, outputs, count, stream, executor) → code``.

        One thread calls it at a time.
        """
        return ctypes.cast(self._alone, ctypes.c_void_p).value or 0

    def __call__(self, *tensors: Tensor) -> list[Tensor]:
        """Run the programme."""
        inputs = pointers_of(tensors)  # the programme frees them
        outputs = self._outputs
        _check(
            self._run(
                self._handle,
                inputs,
                ctypes.c_size_t(len(inputs)),
                outputs,
                ctypes.c_size_t(len(outputs)),
                None,
                None,
            )
        )
        return tensors_of(outputs)

    def __del__(self) -> None:
        if self._handle:
            self._delete(self._handle)


def pointers_of(tensors: Sequence[Tensor]) -> ctypes.Array[ctypes.c_void_p]:
    """Handles of tensors as torch's C interface has them; whoever gets them has to free them."""
    handles = torch._C._aoti.unsafe_alloc_void_ptrs_from_tensors(list(tensors))
    return (ctypes.c_void_p * len(handles))(*(_pointer(handle, None) for handle in handles))


def tensors_of(pointers: Iterable[int]) -> list[Tensor]:
    """Tensors of such handles, which are freed."""
    steal = torch._C._aoti.alloc_tensors_by_stealing_from_void_ptrs
    found: list[Tensor] = steal([_capsule(pointer, None, None) for pointer in pointers])
    return found


def unlocked_runners(
    package: Path, count: int, *, arguments: tuple[Tensor, ...], expected: Any
) -> list[Unlocked] | None:
    """Make ``count`` runners of a compiled package; None if they cannot be had here.

    Parameters
    ----------
    package : Path
        Files that torch's ahead-of-time compiler wrote.
    arguments : tuple of Tensor
        To try the runners on.
    expected : sequence of Tensor
        The function that torch's own loader returned for them.
    """
    try:
        with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(package) as archive:
            (name,) = [name for name in archive.namelist() if name.endswith(".so")]
            library = ctypes.CDLL(archive.extract(name, folder))
        runners = [Unlocked(library) for _ in range(count)]
        for runner in runners:
            found = runner(*arguments)
            if len(found) != len(expected) or not all(map(torch.equal, found, expected)):
                return None
    except (AttributeError, OSError, RuntimeError, TypeError, ValueError, zipfile.BadZipFile):
        return None
    return runners


def _check(code: int) -> None:
    if code:
        raise RuntimeError(f"a compiled programme failed with code {code}")


_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)
_capsule = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
    ("PyCapsule_New", ctypes.pythonapi)
)
