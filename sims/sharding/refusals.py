"""Refusals of scenarios that need the rows of all nodes in one place."""

from __future__ import annotations

from gossipfl.algorithms import RoundAlgorithm
from gossipfl.algorithms.conformance import differs_alone
from gossipfl.attacks import Attack, Poisoned
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
        _require_plain_messages(scenario)
    elif scenario.algorithm.of_rounds(world.layout).requirements.server:
        _require_rows_apart(name, scenario.algorithm.of_rounds(world.layout))
    if scenario.attack is not None:
        _require_divisible_attack(scenario.attack.name, scenario.attack.build(), scenario)


def _require_divisible_attack(name: str, attack: Attack, scenario: Scenario) -> None:
    if not isinstance(attack, Poisoned) and not scenario.algorithm.in_rounds:
        raise NotSimulable(
            f"attack {name!r} is on messages, which shards take in without looking at their senders",
            expected="an algorithm in rounds, or an attack in the data, such as label_flip",
            remedy=_HERE,
        )


def _require_rows_apart(name: str, algorithm: RoundAlgorithm) -> None:
    """Refuse an algorithm with a server that reaches for rows of other nodes besides."""
    found = differs_alone(algorithm)
    if found is not None:
        raise NotSimulable(
            f"{name!r} uses rows of other nodes without an exchange: in a shard by itself {found}",
            expected="a round that depends on others by what its exchanges return alone",
            remedy=_HERE,
        )


def _require_plain_messages(scenario: Scenario) -> None:
    """Refuse what message-driven simulations do to messages between their arrival and their merge."""
    present = {
        "gate": scenario.gate is not None and scenario.gate.enabled,
        scenario.engine.named: not scenario.engine.reads_whole_tables,
    }
    named = [what for what, there in present.items() if there]
    if named:
        raise NotSimulable(f"message-driven simulations in shards have no {', '.join(named)}", remedy=_HERE)
