"""Participation by gossip: exchanges of models with random neighbours at a peer's own times."""

from __future__ import annotations

from gossipfl.peer.assembly import outgoing_of
from gossipfl.peer.driver import Participation, Parts
from gossipfl.peer.gossip.exchanges import Gossip
from gossipfl.peer.gossip.learner import Learner
from gossipfl.peer.gossip.outgoing import OutgoingModels
from gossipfl.peer.gossip.plan import GossipPlan

__all__ = ["take_part_in_gossip"]


def take_part_in_gossip(parts: Parts, plan: GossipPlan) -> Participation:
    """Put the parts of a gossiping peer together."""
    settings, exchange = parts.settings, parts.settings.exchange
    learner = Learner(
        state=parts.state,
        trainer=parts.trainer,
        algorithm=plan.algorithm,
        merges_per_training=exchange.merges_per_training,
        patience=exchange.patience,
        mailbox=exchange.mailbox,
        record=parts.record,
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
        tasks={"gossip": gossip.exchange_models, "views": gossip.exchange_views},
    )
