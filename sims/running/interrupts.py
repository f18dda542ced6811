"""Ctrl-C as a request to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["interrupts_noted"]


@contextmanager
def interrupts_noted() -> Iterator[Callable[[], bool]]:
    """Note a first Ctrl-C, and give a function that tells of it; a second one raises KeyboardInterrupt.

    Only in the main thread: others receive no signals.
    """
    noted = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal noted
        del number, frame
        if noted:
            raise KeyboardInterrupt
        noted = True

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield lambda: noted
    finally:
        signal.signal(signal.SIGINT, before)
