"""Participation by gossip: exchanges of models with random neighbours at a peer's own times."""

from __future__ import annotations

import logging

from gossipfl.errors import InvalidTask
from gossipfl.peer.assembly import outgoing_of
from gossipfl.peer.driver import Participation, Parts
from gossipfl.peer.gossip.exchanges import Gossip
from gossipfl.peer.gossip.guard import Guard, LossProbe
from gossipfl.peer.gossip.later_starts import LaterStarts
from gossipfl.peer.gossip.learner import Learner
from gossipfl.peer.gossip.outgoing import OutgoingModels
from gossipfl.peer.gossip.plan import GossipPlan

__all__ = ["take_part_in_gossip"]

logger = logging.getLogger(__name__)


def take_part_in_gossip(parts: Parts, plan: GossipPlan) -> Participation:
    """Put the parts of a gossiping peer together."""
    settings, exchange = parts.settings, parts.settings.exchange
    guard = _guard_of(parts)
    learner = Learner(
        state=parts.state,
        trainer=parts.trainer,
        algorithm=plan.algorithm,
        merges_per_training=exchange.merges_per_training,
        patience=exchange.patience,
        mailbox=exchange.mailbox,
        record=parts.record,
        guard=guard,
    )
    later_starts = LaterStarts(
        incarnation=parts.incarnation, starts_before=parts.starts_before, start_again=parts.start_again
    )
    gossip = Gossip(
        host=parts.host,
        learner=learner,
        view=parts.view,
        outgoing=OutgoingModels(
            task=parts.task,
            plan=plan,
            outgoing=outgoing_of(settings, parts.task),
            sender=parts.host.peer_id,
            incarnation=parts.incarnation,
            record=parts.record,
        ),
        later_starts=later_starts,
        task=parts.task.fingerprint,
        exchange_settings=exchange,
        view_settings=settings.view,
        generator=parts.generator,
        record=parts.record,
    )
    return Participation(
        learner=learner,
        answer=gossip.answer,
        screen=gossip.screen,
        tasks={
            "gossip": gossip.exchange_models,
            "views": gossip.exchange_views,
            "later starts": later_starts.go_beyond,
        },
        gate=lambda: None if guard is None else guard.described(),
    )


def _guard_of(parts: Parts) -> Guard | None:
    settings = parts.settings.gate
    if not settings.enabled:
        return None
    probe = None
    if settings.loss_samples:
        initial = parts.task.initial_row(parts.settings.runtime.number)
        try:
            probe = LossProbe(parts.task, parts.trainer.data, initial, samples=settings.loss_samples)
        except InvalidTask as error:
            logger.warning("the gate does without losses on this peer's own samples: %s", error)
    return Guard(settings, probe)
