"""Sweeps: many runs of one scenario with other values, side by side in processes, kept as one dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topology.lazy import lazy_attributes

if TYPE_CHECKING:
    from sims.sweeping.execution import SweepProgress, SweepResult, sweep
    from sims.sweeping.settings import Sweep, load_sweep, parse_sweep

__all__ = ["Sweep", "SweepProgress", "SweepResult", "load_sweep", "parse_sweep", "sweep"]

# A worker settles its threads before torch is loaded.
__getattr__ = lazy_attributes(
    __name__,
    {
        "Sweep": "sims.sweeping.settings",
        "SweepProgress": "sims.sweeping.execution",
        "SweepResult": "sims.sweeping.execution",
        "load_sweep": "sims.sweeping.settings",
        "parse_sweep": "sims.sweeping.settings",
        "sweep": "sims.sweeping.execution",
    },
)
