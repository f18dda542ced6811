"""Liveness of a peer, as seen from its home by another process."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from gossipfl.peer.store.home import Home

__all__ = ["EXIT_CODES", "Liveness", "liveness_of"]

_SILENT_SECONDS: Final = 15.0

State = Literal["running", "starting", "silent", "stopped"]

#: Exit codes of ``gossipfl peer status``; 3 is what the Linux Standard Base asks of a service that does not run.
EXIT_CODES: Final[Mapping[State, int]] = {"running": 0, "stopped": 3, "starting": 4, "silent": 5}


@dataclass(frozen=True, slots=True)
class Liveness:
    """Whether a peer runs.

    Parameters
    ----------
    state : str
        ``running``; ``starting``, without a status of this start yet; ``silent``, if it runs but its status is
        old; ``stopped``.
    reason : str or None
        Likely reason for a silence.
    """

    state: State
    reason: str | None = None


def liveness_of(home: Home, status: Mapping[str, Any] | None) -> Liveness:
    """Return the liveness of a home's peer, given its last status, if there is one.

    Raises
    ------
    HomeError
        The home cannot be read.
    """
    if not home.is_running():
        return Liveness("starting" if home.is_starting() else "stopped")
    if status is None or status["updated"] < (home.used_since() or 0.0):
        return Liveness("starting")
    if time.time() - status["updated"] <= _SILENT_SECONDS:
        return Liveness("running")
    return Liveness("silent", _why_silent(home, status["process"]))


def _why_silent(home: Home, process: int) -> str:
    if not shutil.disk_usage(home.directory).free:
        return "the disk is full: make room"
    if os.statvfs(home.directory).f_flag & os.ST_RDONLY:
        return "the disk is mounted read-only: mount it so that it can be written"
    if _is_suspended(process):
        return f"process {process} is suspended: resume it with kill -CONT {process}"
    return (
        f"process {process} cannot write it, or has no time to: look at the peer's log and the machine's load"
    )


def _is_suspended(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat", "rb") as file:  # noqa: PTH123
            return file.read().rpartition(b") ")[2][:1] in (b"T", b"t")
    except OSError:  # it is on another machine or in another container, or there is no /proc
        return False
