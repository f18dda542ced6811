"""Runs: a scenario moved forward, measured, and written down."""

from __future__ import annotations

from sims.running.run import Progress, Result, run

__all__ = ["Progress", "Result", "run"]
