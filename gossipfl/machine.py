"""Resources of this machine."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from pathlib import Path
from typing import Final

__all__ = ["available_memory", "forbid_memory_dumps"]

_PR_SET_DUMPABLE: Final = 4


def available_memory() -> int:
    """Bytes that can be had without swapping, the limit of a control group considered."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            free = min(free, int((Path("/sys/fs/cgroup") / name).read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    return free


def forbid_memory_dumps() -> None:
    """Have this process leave no image of its memory when it crashes, and no debugger of its user read it.

    On Linux programs that the kernel hands such images to (systemd-coredump, apport) get none, either, and only
    root can trace the process (prctl(2), PR_SET_DUMPABLE). Processes that it starts are as ever.
    """
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
