"""Windows of a timeline, the next of which is drawn and arranged while one is carried out."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future, wait
from typing import Any, Protocol, TypeVar

from sims.compiler.timeline import Timeline, Window
from sims.engine.arranging import Arranged

__all__ = ["MOST_OPERATIONS", "arranged_windows"]

T = TypeVar("T")
MOST_OPERATIONS = 1 << 20
"""Of windows of which two may be in memory."""


class Arranging(Protocol):
    """Whatever arranges windows, and may have threads."""

    def arrange(self, window: Window) -> Arranged:
        """Arrange a window, in any thread."""
        ...

    def aside(self, function: Callable[[], T]) -> Future[T] | None:
        """Call a function in another thread, if there is one that has time."""
        ...


def arranged_windows(timeline: Timeline, engine: Arranging, until: int) -> Generator[Arranged, None, None]:
    """Yield windows up to and including time ``until``, arranged; the caller carries each out before the next.

    When the caller closes this early, the timeline is as it was after the window yielded last.

    Parameters
    ----------
    timeline : Timeline
        Nobody else uses it until this ends.
    engine : Arranging
    until : int
        Ticks.

    Raises
    ------
    Exception
        Whatever drawing or arranging a window raises, but after the windows before it.
    """
    windows = timeline.windows(until)

    def drawn() -> Arranged | None:
        window = next(windows, None)
        if window is None:
            return None
        arranged = engine.arrange(window)
        timeline.kept(arranged.waves.pending)
        return arranged

    saved: dict[str, Any] = {}

    def drawn_ahead() -> Arranged | None:
        saved.clear()
        saved.update(timeline.copied_state())
        return drawn()

    arranged = drawn()
    while arranged is not None:
        small = len(arranged.window) <= MOST_OPERATIONS
        ahead = engine.aside(drawn_ahead) if small else None
        if ahead is None:
            yield arranged
            arranged = drawn()
            continue
        try:
            yield arranged
        except GeneratorExit:
            wait([ahead])
            if saved:  # otherwise it has not begun
                timeline.restore(saved)
            raise
        arranged = ahead.result()
