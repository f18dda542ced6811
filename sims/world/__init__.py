"""The world of a simulation: task, samples, training, first rows and networks."""

from __future__ import annotations

from sims.world.world import World, build_world

__all__ = ["World", "build_world"]
