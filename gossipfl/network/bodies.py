"""Memory for the bodies of received frames, reused once the last row received in it has been released.

Touching a fresh page for the first time costs more than receiving and decrypting what is written to it.
"""

from __future__ import annotations

import weakref
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["BodyBuffers"]

_LEAST_BYTES_KEPT: Final = 1024 * 1024


class BodyBuffers:
    """Allocator of writable buffers of exact sizes, which keeps one released buffer for reuse."""

    def __init__(self) -> None:
        self._spare: NDArray[np.uint8] | None = None

    def allocate(self, size: int, room: int = 0) -> memoryview:
        """Return `size` uninitialised bytes, aligned for every dtype, with `room` more before them.

        They are reused once the last object that refers to them (a view, a tensor) is gone. A size that a slow
        sender merely announces costs no memory: pages are allocated as they are written.
        """
        whole = room + size
        if whole < _LEAST_BYTES_KEPT:
            return _aligned(whole).data[room:]
        memory = self._spare if self._spare is not None and self._spare.nbytes == whole else None
        self._spare = None
        if memory is None:
            memory = _aligned(whole)
        # Every view and tensor made from the buffer refers to this array, not to the one behind it.
        lent = memory[:]
        weakref.finalize(lent, self._take_back, memory).atexit = False
        return lent.data[room:]

    def _take_back(self, memory: NDArray[np.uint8]) -> None:
        self._spare = memory


def _aligned(size: int) -> NDArray[np.uint8]:
    """Bytes that begin where torch's own tensors would: products may depend on it."""
    return torch.empty(size, dtype=torch.uint8).numpy()
