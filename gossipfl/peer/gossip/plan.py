"""Plan of a peer that gossips: its algorithm, and what its messages hold."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gossipfl.algorithms import MessageAlgorithm, find_algorithm, make_algorithm, resumed
from gossipfl.algorithms.declaration import parameters_of
from gossipfl.errors import SettingError
from gossipfl.settings import PeerSettings
from gossipfl.tasks import Task
from gossipfl.training import Nodes
from gossipfl.wire import CarriedRow

#: Keys that the table had whatever the algorithm; with these values they had no effect where it takes none.
_FORMERLY_IN_ALL = {"merge": "MU", "weighting": "age"}

__all__ = ["GossipPlan", "gossip_algorithm", "gossip_plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GossipPlan:
    """What a peer and its neighbours must have in common to gossip.

    Parameters
    ----------
    algorithm : MessageAlgorithm
    nodes : Nodes
        Where learning starts, with the rows the algorithm keeps; ``B = 1``.
    carried : tuple of CarriedRow
        What every message holds beside the model.
    layout : bytes, length 32
        Digest of all that messages hold: the layout's own where that is a model and nothing else.
    """

    algorithm: MessageAlgorithm
    nodes: Nodes
    carried: tuple[CarriedRow, ...]
    layout: bytes


def gossip_algorithm(settings: PeerSettings, *, directory: Path | None = None) -> MessageAlgorithm:
    """The message-driven algorithm that settings name.

    Parameters
    ----------
    settings : PeerSettings
    directory : Path, optional
        Where the module of a user's own algorithm is looked for first: the peer's home.

    Raises
    ------
    SettingError
        Peers cannot run it, or other settings contradict it.
    """
    name = settings.gossip.algorithm
    algorithm = make_algorithm(
        name, _parameters(settings, directory), kind="messages", directory=directory, key="gossip"
    )
    _require_runnable(name, algorithm, settings)
    return algorithm


def gossip_plan(
    settings: PeerSettings, task: Task, nodes: Nodes, *, directory: Path | None = None
) -> GossipPlan:
    """Plan how a peer gossips from its first state, or the one it saved.

    Raises
    ------
    SettingError
        As `gossip_algorithm`.
    """
    algorithm = gossip_algorithm(settings, directory=directory)
    begun = resumed(nodes, algorithm, momentum_size=nodes.momentum.shape[1])
    message = algorithm.emit(begun, shared_size=task.layout.shared_size)
    carried = tuple(
        CarriedRow(name, None if rows.dim() == 1 else rows[0].numel())
        for name, rows in message.carried.items()
    )
    return GossipPlan(
        algorithm=algorithm, nodes=begun, carried=carried, layout=_digest(task.layout.digest, carried)
    )


def _digest(layout: bytes, carried: tuple[CarriedRow, ...]) -> bytes:
    if not carried:
        return layout
    digest = hashlib.blake2b(layout, digest_size=32)
    for row in carried:
        digest.update(f"{row.name} {row.size}\n".encode())
    return digest.digest()


def _parameters(settings: PeerSettings, directory: Path | None) -> dict[str, Any]:
    """Parameters as files have them: those of ``[gossip]``, and those that other settings of a peer decide."""
    given, name = settings.gossip.parameters, settings.gossip.algorithm
    declared = {
        each.name: each for each in parameters_of(find_algorithm(name, kind="messages", directory=directory))
    }
    elsewhere = {key: each.about.in_peers for key, each in declared.items() if each.about.in_peers}
    for key, place in elsewhere.items():
        if key in given:
            raise SettingError(
                f"gossip.{key} is for simulations", remedy=f"In a peer's settings it is {place}."
            )
    kept = {
        key: value
        for key, value in given.items()
        if value is not None and (key in declared or _FORMERLY_IN_ALL.get(key) != value)
    }
    modes = dict.fromkeys((key for key, place in elsewhere.items() if place == "exchange.mode"))
    return {**kept, **dict.fromkeys(modes, settings.exchange.mode)}


def _require_runnable(name: str, algorithm: MessageAlgorithm, settings: PeerSettings) -> None:
    behaviour, exchange = algorithm.behaviour, settings.exchange
    if algorithm.simulator_only is not None:
        raise SettingError(f"gossip.algorithm: {name} runs in the simulator only: {algorithm.simulator_only}")
    if behaviour.trains == "answer" and exchange.mode != "push-pull":
        raise SettingError(
            f"gossip.algorithm = {name!r} trains on answers, so neighbours must be asked for them",
            expected="exchange.mode = 'push-pull'",
            got=repr(exchange.mode),
        )
    if behaviour.trains != "receipt" and exchange.merges_per_training != 1:
        raise SettingError(
            f"gossip.algorithm = {name!r} does not train on receipt",
            expected="exchange.merges_per_training = 1",
            got=exchange.merges_per_training,
        )
