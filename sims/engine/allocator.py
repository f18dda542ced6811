"""Memory for rows: large pages for those of all nodes, and what is released kept for the next block."""

from __future__ import annotations

import contextlib
import ctypes
import sys
import weakref
from functools import cache
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["LARGEST_KEPT", "Spare", "empty", "keep_released_memory", "return_released_memory"]

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
LARGEST_KEPT: Final = 1 << 25  # the most that older versions take
"""Bytes of a block from which on it returns to the system when it is released."""
_MOST_KEPT: Final = 1 << 28


@cache
def keep_released_memory() -> None:
    """Let glibc keep released blocks of up to 32 MiB, 256 MiB in all, instead of returning them to the system.

    Otherwise every block of nodes has its intermediate results in pages that the system hands out and clears
    anew, which takes up to half of a step's time. Larger ones, such as tables of rows, are still returned at once.
    Without effect on other C libraries.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, LARGEST_KEPT)
    mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)


def return_released_memory() -> None:
    """Return to the system what glibc keeps of released memory, between blocks in use too.

    Tracing leaves small objects among its large intermediate results. These are released, but what is later
    computed at a time fits into few of the gaps, and took up to 100 MB beside them. Without effect on other C
    libraries.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def empty(*shape: int, dtype: torch.dtype) -> Tensor:
    """Make a tensor on the processor that nobody has written to, in large pages where the system has some.

    numpy asks the system for pages of 2 MiB, torch does not, and rows that are gathered from all over a table of
    250 MB in pages of 4 KiB come a quarter more slowly: each begins with a look for its page.
    """
    return torch.from_numpy(np.empty(shape, dtype=_of_numpy(dtype)))


class Spare:
    """Memory of one table of rows that nobody holds any more, for the next one of its size.

    A new table of 250 MB takes the system as long to clear as a tenth of the sums that are written to it.
    """

    def __init__(self) -> None:
        self._kept: NDArray[np.generic] | None = None

    def empty(self, *shape: int, dtype: torch.dtype) -> Tensor:
        """Make a tensor as `empty` does; its memory comes back when it and all its views are gone."""
        kept, self._kept = self._kept, None
        if kept is None or kept.shape != shape or kept.dtype != _of_numpy(dtype):
            kept = np.empty(shape, dtype=_of_numpy(dtype))
        lent = kept.view()
        weakref.finalize(lent, self._take_back, kept).atexit = False
        return torch.from_numpy(lent)

    def _take_back(self, memory: NDArray[np.generic]) -> None:
        self._kept = memory


def _of_numpy(dtype: torch.dtype) -> np.dtype[np.generic]:
    return torch.empty(0, dtype=dtype).numpy().dtype
