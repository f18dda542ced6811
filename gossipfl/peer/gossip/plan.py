"""Plan of a peer that gossips: its algorithm, and what its messages hold."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from gossipfl.algorithms import ADPSGD, GossipLearning, MessageAlgorithm, resumed
from gossipfl.errors import SettingError
from gossipfl.settings import PeerSettings
from gossipfl.tasks import Task
from gossipfl.training import Nodes
from gossipfl.wire import CarriedRow

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


def gossip_algorithm(settings: PeerSettings) -> MessageAlgorithm:
    """The message-driven algorithm that settings name.

    Raises
    ------
    SettingError
        Peers cannot run it, or other settings contradict it.
    """
    gossip, exchange = settings.gossip, settings.exchange
    algorithm: MessageAlgorithm
    if gossip.algorithm == "ad_psgd":
        algorithm = ADPSGD()
    else:
        algorithm = GossipLearning(
            merge=gossip.merge,
            weighting=gossip.weighting,
            merge_limit=gossip.merge_limit,
            exchange=exchange.mode,
        )
    _require_runnable(gossip.algorithm, algorithm, settings)
    return algorithm


def gossip_plan(settings: PeerSettings, task: Task, nodes: Nodes) -> GossipPlan:
    """Plan how a peer gossips from its first state, or the one it saved.

    Raises
    ------
    SettingError
        As `gossip_algorithm`.
    """
    algorithm = gossip_algorithm(settings)
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


def _require_runnable(name: str, algorithm: MessageAlgorithm, settings: PeerSettings) -> None:
    behaviour, exchange = algorithm.behaviour, settings.exchange
    reason = behaviour.simulated_only
    if reason is None and behaviour.lost == "returned":
        reason = "a peer does not learn which of its messages were lost"
    if reason is None and behaviour.sharing.kind != "whole":
        reason = "peers send whole models"
    if reason is None and behaviour.flow.kind != "proactive":
        reason = "peers send by their clocks"
    if reason is not None:
        raise SettingError(f"gossip.algorithm: {name} runs in the simulator only: {reason}")
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
