"""Signals that are handled otherwise for a while."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["on_signals"]


@contextmanager
def on_signals(*numbers: signal.Signals, do: Callable[[int], object]) -> Iterator[None]:
    """Call `do` with the number of each of these signals that arrives, and put the handlers back afterwards."""
    before = {each: signal.signal(each, lambda number, _frame: do(number)) for each in numbers}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
