"""Refusals of scenarios that need the rows of all nodes in one place."""

from __future__ import annotations

from gossipfl.attacks import Attack, Poisoned, SameToAll
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
        raise NotSimulable(
            f"{name!r} averages at a server, which has the rows of all nodes in one place",
            expected="an algorithm that exchanges rows with neighbours, such as d_psgd",
            remedy=_HERE,
        )
    if scenario.masked_sums is not None:
        raise NotSimulable("masked_sums are not computed in shards", remedy=_HERE)
    if scenario.attack is not None:
        _require_divisible_attack(scenario.attack.name, scenario.attack.build(), scenario)


def _require_divisible_attack(name: str, attack: Attack, scenario: Scenario) -> None:
    if isinstance(attack, Poisoned) or (scenario.algorithm.in_rounds and isinstance(attack, SameToAll)):
        return
    if isinstance(attack, SameToAll):
        raise NotSimulable(
            f"attack {name!r} is on messages, which shards take in without looking at their senders",
            expected="an algorithm in rounds, or an attack in the data, such as label_flip",
            remedy=_HERE,
        )
    raise NotSimulable(
        f"attack {name!r} looks at rows of all honest nodes",
        expected="one that makes a row of its node's own, such as sign_flip, or false data, such as label_flip",
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
