"""A line on the terminal before a kernel that takes long to compile."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from typing import Any

from numba.core import event

__all__ = ["announce"]


class _Announcement(event.Listener):  # type: ignore[misc]
    def __init__(self, kernel: Callable[..., Any], line: str) -> None:
        self._kernel, self._line = kernel, line

    def on_start(self, event: event.Event) -> None:
        if event.data["dispatcher"] is not self._kernel or multiprocessing.parent_process() is not None:
            return
        if sys.stderr is not None and sys.stderr.isatty():
            print(self._line, file=sys.stderr, flush=True)

    def on_end(self, event: event.Event) -> None:
        del event


def announce(kernel: Callable[..., Any], line: str) -> None:
    """Print `line`, if there is a terminal, whenever `kernel` is compiled instead of read from a cache."""
    event.register("numba:compile", _Announcement(kernel, line))
