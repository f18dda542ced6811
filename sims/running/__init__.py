"""Running scenarios: progress, measurements, records and checkpoints."""

from __future__ import annotations

from sims.running.result import Progress, Recorded, Result
from sims.running.run import run
from sims.running.stored import load_run

__all__ = ["Progress", "Recorded", "Result", "load_run", "run"]
