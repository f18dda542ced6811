"""The C library's allocator, told to keep the memory of intermediate results for the next block."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Final

__all__ = ["keep_released_memory"]

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_LARGEST_KEPT: Final = 1 << 25  # the most that older versions take
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
    mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
    mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)
