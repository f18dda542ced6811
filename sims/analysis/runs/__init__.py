"""Runs as values, read from directories of the simulator and homes of real peers."""

from __future__ import annotations

from sims.analysis.runs.loading import load_runs
from sims.analysis.runs.run import Run

__all__ = ["Run", "load_runs"]
