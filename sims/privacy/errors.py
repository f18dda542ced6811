"""Errors of privacy accounting."""

from __future__ import annotations

from sims.errors import SimulationError

__all__ = ["NotAccountable"]


class NotAccountable(SimulationError):
    """What is asked for cannot be accounted exactly: the run is not linear, or its values have no noise."""
