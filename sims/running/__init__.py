"""Running scenarios: progress, measurements, records and checkpoints."""

from __future__ import annotations

from sims.running.run import Progress, Result, run

__all__ = ["Progress", "Result", "run"]
