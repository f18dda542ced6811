"""Resources of this machine."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["attainable_memory", "available_memory", "forbid_memory_dumps", "limits_addresses"]

_PR_SET_DUMPABLE: Final = 4
_GROUPS: Final = Path("/sys/fs/cgroup")
_MEMBERSHIP: Final = Path("/proc/self/cgroup")
_LIMITS: Final = {"memory.max": "memory.current", "memory.high": "memory.current"}
_OLD_LIMITS: Final = {"memory.limit_in_bytes": "memory.usage_in_bytes"}
_FILES: Final = "inactive_file", "active_file"  # pages that the system takes back when memory is short


def available_memory() -> int:
    """Bytes that this process can still have without swapping, as its control groups and `ulimit` allow."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(0, min(free, *_left_by_limits(), *_left_in_groups(_GROUPS, _MEMBERSHIP)))


def attainable_memory() -> int:
    """Bytes that this process can have in all: what it has already, and what it can still have."""
    try:
        words = Path("/proc/self/status").read_text(encoding="ascii").split()
        has = int(words[words.index("RssAnon:") + 1]) * 1024
    except (OSError, ValueError):
        has = 0
    return available_memory() + has


def limits_addresses() -> bool:
    """Whether `ulimit -v` is set, so that files in memory count as what is in use."""
    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def _left_by_limits() -> Iterator[int]:
    """What `ulimit -v` and `ulimit -d` leave of addresses."""
    yield sys.maxsize
    try:
        size, *_, data, _ = map(int, Path("/proc/self/statm").read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return
    for kind, used in ((resource.RLIMIT_AS, size), (resource.RLIMIT_DATA, data)):
        limit, _ = resource.getrlimit(kind)
        if limit != resource.RLIM_INFINITY:
            yield limit - used * resource.getpagesize()


def _left_in_groups(mounted: Path, membership: Path) -> Iterator[int]:
    """What the limits of control groups leave, of versions 1 and 2: the process's own, and those above it."""
    for group, limits in _memory_groups(mounted, membership):
        for limit, usage in limits.items():
            try:
                allowed = int((group / limit).read_text(encoding="ascii"))
                used = int((group / usage).read_text(encoding="ascii"))
                words = (group / "memory.stat").read_text(encoding="ascii").split()
            except (OSError, ValueError):  # no such group, or "max"
                continue
            of_all = "total_" if limits is _OLD_LIMITS else ""
            named = dict(zip(words[::2], words[1::2], strict=False))
            yield allowed - used + sum(int(named.get(of_all + name, 0)) for name in _FILES)


def _memory_groups(mounted: Path, membership: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        limits = _OLD_LIMITS if controllers else _LIMITS
        for top in (mounted / "memory",) if controllers else (mounted, mounted / "unified"):
            # In a container the group's own directory may be mounted in the place of the uppermost.
            for each in (path := Path(group), *path.parents):
                yield top / each.relative_to("/"), limits


def forbid_memory_dumps() -> None:
    """Have this process leave no image of its memory when it crashes, and no debugger of its user read it.

    On Linux programs that the kernel hands such images to (systemd-coredump, apport) get none, either, and only
    root can trace the process (prctl(2), PR_SET_DUMPABLE). Processes that it starts are as ever.
    """
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
