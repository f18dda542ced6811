"""Share of the machine's CPU that other processes use."""

from __future__ import annotations

import os
import time
from typing import Any, Final, NamedTuple

from gossipfl.peer.policy.decision import Reading
from gossipfl.peer.policy.libraries import library

__all__ = ["Processor"]

#: Time over which a first reading is made.
_SECONDS: Final = 1.0
_IDLE: Final = ("idle", "iowait")
_COUNTED_TWICE: Final = ("guest", "guest_nice")  # psutil: part of user and nice


class _Times(NamedTuple):
    total: float
    busy: float
    own: float


class Processor:
    """CPU time between two readings, without that of this process and of the children that it has waited for."""

    def __init__(self) -> None:
        self._before: _Times | None = None

    def read(self) -> Reading:
        """Return the share of all cores' time that other processes have used since the last reading."""
        psutil = library("psutil")
        if psutil is None:
            return Reading(value=None, text="psutil is not installed")
        before = self._before
        if before is None:
            before = _times(psutil)
            time.sleep(_SECONDS)
        self._before = now = _times(psutil)
        total = now.total - before.total
        if total <= 0:
            return Reading(value=None, text="the machine counts no CPU time")
        share = min(1.0, max(0.0, (now.busy - before.busy - (now.own - before.own)) / total))
        return Reading(value=share, text=f"other processes use {share:.0%} of the CPU")


def _times(psutil: Any) -> _Times:  # noqa: ANN401 - a module
    fields = psutil.cpu_times()._asdict()
    total = sum(seconds for name, seconds in fields.items() if name not in _COUNTED_TWICE)
    own = os.times()
    return _Times(
        total=total,
        busy=total - sum(fields.get(name, 0.0) for name in _IDLE),
        own=own.user + own.system + own.children_user + own.children_system,
    )
