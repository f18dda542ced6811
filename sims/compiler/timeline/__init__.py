"""The timeline of a run: who sends what to whom and when, drawn without looking at any model."""

from __future__ import annotations

from sims.compiler.timeline.conditions import TICKS_PER_SECOND, Conditions, conditions_of, ticks
from sims.compiler.timeline.events import event_loop_was_compiled
from sims.compiler.timeline.timeline import Timeline, Window, longest_window

__all__ = [
    "TICKS_PER_SECOND",
    "Conditions",
    "Timeline",
    "Window",
    "conditions_of",
    "event_loop_was_compiled",
    "longest_window",
    "ticks",
]
