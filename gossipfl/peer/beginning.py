"""Beginnings of a peer's starts: a plan, and a first state or that of a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gossipfl.peer.assembly import (
    checkpoint_of,
    first_state,
    neighbour_generator,
    outgoing_of,
    resumed_state,
)
from gossipfl.peer.gossip.events import State
from gossipfl.peer.gossip.plan import GossipPlan, begun_nodes, gossip_plan
from gossipfl.peer.store.checkpoint import Checkpoint
from gossipfl.peer.store.home import Home
from gossipfl.rounds import RoundsPlan, plan_of, started
from gossipfl.settings import PeerSettings
from gossipfl.tasks import Task
from gossipfl.training import Trainer

__all__ = ["Beginning", "begin"]


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a start begins with.

    Parameters
    ----------
    resumed : Checkpoint or None
        Without its model, which the state has.
    generator : numpy.random.Generator
        Draws neighbours.
    """

    plan: RoundsPlan | GossipPlan
    state: State
    resumed: Checkpoint | None
    generator: np.random.Generator


def begin(home: Home, task: Task, trainer: Trainer, settings: PeerSettings, *, peer_id: str) -> Beginning:
    """Read the checkpoint of a home, if there is one, and plan what follows.

    Raises
    ------
    CorruptCheckpoint, SettingError, HomeError
        The peer cannot start.
    """
    checkpoint = checkpoint_of(home, task, trainer, rounds=settings.rounds.algorithm)
    state = resumed_state(checkpoint) if checkpoint else first_state(task, trainer, settings)
    outgoing = outgoing_of(settings, task)
    plan: RoundsPlan | GossipPlan
    if settings.rounds.algorithm is not None:
        plan = plan_of(settings, peer_id=peer_id, trainer=trainer, outgoing=outgoing)
        state = replace(state, nodes=started(state.nodes, state.event, plan, task))
    else:
        plan = gossip_plan(settings, task, state.nodes)
        state = replace(state, nodes=begun_nodes(state.nodes, plan.algorithm))
    generator = neighbour_generator(settings, peer_id)
    if checkpoint is None:
        return Beginning(plan, state, None, generator)
    resumed = checkpoint.without_model()
    generator.bit_generator.state = resumed.random_state
    return Beginning(plan, state, resumed, generator)
