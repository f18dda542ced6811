"""Memory for the bodies of received frames, used again once nobody holds the last row received in it.

The first touch of every fresh page costs more than receiving and decrypting what is written to it.
"""

from __future__ import annotations

import weakref
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["BodyBuffers"]

_WORTH_KEEPING: Final = 1024 * 1024


class BodyBuffers:
    """Gives writable buffers of exact sizes and keeps one that came back for the next time."""

    def __init__(self) -> None:
        self._spare: NDArray[np.uint8] | None = None

    def allocate(self, size: int) -> memoryview:
        """Return `size` bytes, aligned for every dtype, whose content is arbitrary.

        They are reused after the last object that refers to them (a view, a tensor) is gone. What a slow
        sender merely announces costs no memory: pages come into being as they are written.
        """
        if size < _WORTH_KEEPING:
            return np.empty(size, dtype=np.uint8).data
        memory = self._spare if self._spare is not None and self._spare.nbytes == size else None
        self._spare = None
        if memory is None:
            memory = np.empty(size, dtype=np.uint8)
        # Every view and tensor made from the buffer refers to this array, and to nothing behind it.
        lent = memory[:]
        weakref.finalize(lent, self._take_back, memory).atexit = False
        return lent.data

    def _take_back(self, memory: NDArray[np.uint8]) -> None:
        self._spare = memory
