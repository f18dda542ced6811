"""Sweeps: many runs of one scenario with other values, side by side in processes, kept as one dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topology.lazy import lazy_attributes

if TYPE_CHECKING:
    from sims.sweeping.execution import SweepProgress, SweepResult, sweep
    from sims.sweeping.settings import Sweep, load_sweep, parse_sweep

__all__ = ["Sweep", "SweepProgress", "SweepResult", "load_sweep", "parse_sweep", "sweep"]

# A worker settles its threads before torch is loaded.
__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        **dict.fromkeys(("Sweep", "load_sweep", "parse_sweep"), "sims.sweeping.settings"),
        **dict.fromkeys(("SweepProgress", "SweepResult", "sweep"), "sims.sweeping.execution"),
    },
)
