"""The C library's allocator, told to return the memory of large models at once."""

from __future__ import annotations

import ctypes
import sys
from typing import Final

__all__ = ["return_large_blocks"]

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_LARGE_BLOCK: Final = 1 << 20
_MOST_KEPT: Final = 4 << 20


def return_large_blocks() -> None:
    """Let glibc return every released block of 1 MB or more to the operating system.

    Otherwise each of the threads that have computed keeps up to 64 MB of released memory for itself. Without
    effect on other C libraries.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)
    mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)
