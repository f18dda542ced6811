"""The engine: many models at once, with the functions that a peer calls for its single one."""

from __future__ import annotations

from sims.engine.engine import Engine, Phases
from sims.engine.round_engine import RoundEngine

__all__ = ["Engine", "Phases", "RoundEngine"]
