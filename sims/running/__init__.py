"""Running scenarios: progress, measurements, records and checkpoints."""

from __future__ import annotations

from sims.running.result import Progress, Result
from sims.running.run import run

__all__ = ["Progress", "Result", "run"]
