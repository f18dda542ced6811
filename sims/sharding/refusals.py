"""Refusals of scenarios that need the rows of all nodes in one place."""

from __future__ import annotations

from gossipfl.algorithms import RoundAlgorithm
from gossipfl.algorithms.conformance import differs_alone
from sims.errors import NotSimulable
from sims.scenario import Scenario
from sims.world import World

__all__ = ["require_divisible"]

_HERE = "Run it on one machine, without --shards."


def require_divisible(scenario: Scenario, world: World) -> None:
    """Refuse a scenario that shards could not carry out as one machine does.

    Raises
    ------
    NotSimulable
    """
    name = scenario.algorithm.name
    if not scenario.algorithm.in_rounds:
        _require_rows_in_full(scenario)
    elif scenario.algorithm.of_rounds(world.layout).requirements.server:
        _require_rows_apart(name, scenario.algorithm.of_rounds(world.layout))


def _require_rows_apart(name: str, algorithm: RoundAlgorithm) -> None:
    """Refuse an algorithm with a server that reaches for rows of other nodes besides."""
    found = differs_alone(algorithm)
    if found is not None:
        raise NotSimulable(
            f"{name!r} uses rows of other nodes without an exchange: in a shard alone {found}",
            expected="a round that depends on others only through what its exchanges return",
            remedy=_HERE,
        )


def _require_rows_in_full(scenario: Scenario) -> None:
    """Refuse message-driven simulations whose tables are not read as a whole."""
    if not scenario.engine.reads_whole_tables:
        raise NotSimulable(
            f"message-driven simulations in shards have no {scenario.engine.named}", remedy=_HERE
        )
