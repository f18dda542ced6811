"""Memory for rows: large pages for those of all nodes, and what is released kept for the next block."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Final

import numpy as np
import torch
from torch import Tensor

__all__ = ["empty", "keep_released_memory"]

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


def empty(*shape: int, dtype: torch.dtype) -> Tensor:
    """Make a tensor on the processor that nobody has written to, in large pages where the system has some.

    numpy asks the system for pages of 2 MiB, torch does not, and rows that are gathered from all over a table of
    250 MB in pages of 4 KiB come a quarter more slowly: each begins with a look for its page.
    """
    return torch.from_numpy(np.empty(shape, dtype=torch.empty(0, dtype=dtype).numpy().dtype))
