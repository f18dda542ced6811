"""Errors in runs to be analysed, and in the questions asked about them."""

from __future__ import annotations

from sims.errors import SimulationError

__all__ = [
    "AnalysisError",
    "DamagedRun",
    "DifferentTasks",
    "EmptyRun",
    "MissingLibrary",
    "NoRuns",
    "NotWritable",
    "TargetNotReached",
    "UnknownGroup",
    "UnknownMetric",
    "UnknownPooled",
]


class AnalysisError(SimulationError):
    """An analysis cannot be made."""


class NoRuns(AnalysisError):
    """Nothing that was named is a run, or holds one."""


class DamagedRun(AnalysisError):
    """A file of a run cannot be read."""


class EmptyRun(AnalysisError):
    """A run ended before anything was measured."""


class DifferentTasks(AnalysisError):
    """Runs that learned different tasks cannot be compared."""


class UnknownMetric(AnalysisError):
    """The runs did not measure this."""


class UnknownGroup(AnalysisError):
    """No group of runs has this label."""


class UnknownPooled(AnalysisError):
    """The given pooled baseline is not a figure, a run, or a way to get one."""


class TargetNotReached(AnalysisError):
    """None of the runs reached the target."""


class MissingLibrary(AnalysisError):
    """An output needs a library that is not installed."""


class NotWritable(AnalysisError):
    """A file of results cannot be written."""
