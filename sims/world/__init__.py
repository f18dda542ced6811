"""The world of a simulation: task, samples, training, first rows and networks."""

from __future__ import annotations

from sims.world.world import MessageRule, World, build_world, message_codec, message_rule

__all__ = ["MessageRule", "World", "build_world", "message_codec", "message_rule"]
