"""The status of one start of a peer, gathered from its parts."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from gossipfl.peer.status import PeerStatus

if TYPE_CHECKING:
    from gossipfl.peer.incarnation import Incarnation

__all__ = ["status_of"]


def status_of(peer: Incarnation) -> PeerStatus:
    """Return the status of a peer now."""
    state, gate = peer.learner.state, peer.participation.gate()
    return PeerStatus(
        peer_id=peer.identity.peer_id,
        process=os.getpid(),
        task=peer.task.name,
        addresses=peer.host.addresses,
        incarnation=peer.number,
        age=state.age,
        step=state.step,
        event=state.event,
        loss=state.loss,
        divergences=peer.learner.divergences,
        metrics=peer.housekeeping.metrics,
        shared_metrics=peer.housekeeping.shared_metrics,
        saved_age=peer.housekeeping.saved_age,
        neighbours=len(peer.view),
        connected=len(peer.host.connected()),
        peers=peer.neighbours.to_values(quarantined=(gate or {}).get("quarantined", ())),
        permission=peer.policy.permissions.current,
        policy=peer.policy.to_values(),
        rounds=peer.participation.described(),
        gate=gate,
        flow=peer.participation.flow(),
        conditions=peer.conditions.to_values(),
        network=peer.counters.to_dict(),
        membership=peer.entrance.described(peer.host.members.knocks),
        estimates=None if peer.reports is None else peer.reports.newest(),
        keyboard=None
        if peer.typing is None or peer.device_loop is None
        else {**peer.typing.to_values(), **peer.device_loop.to_values()},
        page=None if peer.page is None else peer.page.address,
        started=peer.began,
        updated=time.time(),
    )
