"""Construction of a gossiping peer's parts."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from gossipfl.algorithms.gate import LossProbe
from gossipfl.errors import InvalidTask
from gossipfl.peer.assembly import bootstrap_peers, expectation_of, outgoing_of
from gossipfl.peer.driver import Participation, Parts
from gossipfl.peer.gossip.accounts import TokenAccounts
from gossipfl.peer.gossip.acquaintances import Acquaintances
from gossipfl.peer.gossip.answering import Answering
from gossipfl.peer.gossip.codec_choice import ChosenCodecs, OneCodec
from gossipfl.peer.gossip.discovery import Discovery, follow_file
from gossipfl.peer.gossip.effects import MergeEffects
from gossipfl.peer.gossip.exchanges import Gossip
from gossipfl.peer.gossip.farewell import Farewells
from gossipfl.peer.gossip.guard import Guard
from gossipfl.peer.gossip.joining import AWAY_SECONDS, Joining
from gossipfl.peer.gossip.lan import LocalNetwork, require_zeroconf
from gossipfl.peer.gossip.later_starts import LaterStarts
from gossipfl.peer.gossip.learner import Learner
from gossipfl.peer.gossip.meetings import Meetings
from gossipfl.peer.gossip.outgoing import OutgoingModels
from gossipfl.peer.gossip.own_draws import OwnDraws
from gossipfl.peer.gossip.part_choice import PartChoice
from gossipfl.peer.gossip.plan import GossipPlan
from gossipfl.peer.gossip.received import ReceivedModels
from gossipfl.peer.gossip.sending import VersionsSent
from gossipfl.peer.gossip.view import SampledView
from gossipfl.peer.privacy_budget import Budget, privacy_budget
from gossipfl.peer.private_training import SpentTraining
from gossipfl.peer.renewal import Renewal
from gossipfl.peer.store.home import Home
from gossipfl.settings import ExchangeSettings, PeerSettings
from gossipfl.training import NodeData
from gossipfl.wire import row_bytes

__all__ = ["sampled_view", "take_part_in_gossip"]

_PERIODS_BEFORE_RETRY = 3  # of views, until a lost peer is retried

_HELD_OUT_SAMPLES = 512

logger = logging.getLogger(__name__)


def sampled_view(parts: Parts, path: Path, saved: Iterable[dict[str, Any]] = ()) -> SampledView:
    """Make the view of a gossiping peer.

    Parameters
    ----------
    path : Path
        File of peers met earlier.
    saved : iterable of dict
        The view from a checkpoint.
    """
    settings, host = parts.settings, parts.host
    acquaintances = Acquaintances(
        generator=parts.generator, first_pause=_PERIODS_BEFORE_RETRY * settings.view.period, path=path
    )
    acquaintances.load()
    view = SampledView(
        own=host.announcement,
        outdo=host.outdo,
        doubled=parts.report_double,
        settings=settings.view,
        generator=parts.generator,
        bootstrap=bootstrap_peers(settings),
        acquaintances=acquaintances,
        reached_at=host.remote_address,
    )
    view.restore(saved)
    return view


def take_part_in_gossip(
    parts: Parts, plan: GossipPlan, view: SampledView, *, directory: Path
) -> Participation:
    """Assemble the parts of a gossiping peer.

    Parameters
    ----------
    directory : Path
        The peer's home.

    Raises
    ------
    SettingError
        A library that the settings require is missing.
    """
    settings, exchange = parts.settings, parts.settings.exchange
    guard = _guard_of(parts, plan, neighbours=lambda: len(view))
    measured = settings.evaluation.merge_samples
    effects = MergeEffects(parts.task, parts.data, samples=measured) if measured else None
    learner = Learner(
        state=parts.state,
        trainer=parts.trainer,
        algorithm=plan.algorithm,
        merges_per_training=exchange.merges_per_training,
        patience=exchange.patience,
        mailbox=exchange.mailbox,
        record=parts.record,
        guard=guard,
        effects=effects,
        kept=parts.kept,
    )
    later_starts = LaterStarts(
        incarnation=parts.incarnation,
        starts_before=parts.starts_before,
        start_again=parts.start_again,
        report_double=parts.report_double,
    )
    meetings = Meetings(
        host=parts.host,
        view=view,
        task=parts.task.fingerprint,
        settings=settings.view,
        deadline=exchange.deadline,
    )
    pipeline = outgoing_of(settings, parts.task)
    codecs = OneCodec(pipeline.codec) if pipeline.codec is not None else _chosen_codecs(parts, plan)
    received = ReceivedModels(learner=learner, joining=_joining_of(parts, plan, learner))
    outgoing = OutgoingModels(
        task=parts.task,
        plan=plan,
        outgoing=pipeline,
        codecs=codecs,
        sender=parts.host.peer_id,
        incarnation=parts.incarnation,
        record=parts.record,
        versions=VersionsSent(limit=exchange.incoming_bytes // 2, longest=exchange.deadline),
        budget=_budget_of(parts, directory),
    )
    draws = OwnDraws(parts.host.peer_id, parts.incarnation)
    accounts = TokenAccounts(plan.algorithm.behaviour.flow, draws, parts.record, count=plan.sharing.ages)
    answering = Answering(
        host=parts.host,
        learner=learner,
        received=received,
        meetings=meetings,
        outgoing=outgoing,
        exchange_settings=exchange,
        view_settings=settings.view,
    )
    gossip = Gossip(
        host=parts.host,
        learner=learner,
        received=received,
        accounts=accounts,
        parts=PartChoice(plan.sharing, draws),
        view=view,
        errors=meetings.errors,
        outgoing=outgoing,
        later_starts=later_starts,
        memory=parts.host.memory,
        row_bytes=row_bytes(expectation_of(parts.task, gossip=plan)),
        exchange_settings=exchange,
        generator=parts.generator,
        record=parts.record,
    )
    farewells = Farewells(host=parts.host, view=view)
    discovery = Discovery(bootstrap_peers(settings), view.configure)
    renewal = Renewal(parts.task, settings, parts.data, learner)

    def reload(changed: PeerSettings) -> None:
        codecs.row_seconds = _row_seconds(changed.exchange)
        gossip.exchange_settings = answering.exchange_settings = changed.exchange
        discovery.found("settings", {each.peer_id: each.addresses for each in bootstrap_peers(changed)})
        renewal.ask()

    return Participation(
        learner=learner,
        answer=answering.answer,
        screen=answering.screen,
        tasks={
            "gossip": gossip.exchange_models,
            "joining": partial(received.join, view),
            "views": meetings.run,
            "later starts": later_starts.go_beyond,
            "acquaintances": partial(view.acquaintances.keep_for_ever, settings.checkpoint.period),
            **_discovery_tasks(parts, discovery, directory),
        },
        gate=lambda: None if guard is None else guard.described(),
        flow=accounts.described,
        model_ages=received.ages,
        codec_to=codecs.latest,
        effect_of=lambda peer_id: None if effects is None else effects.described(peer_id),
        renewal=renewal,
        say_farewell=farewells.say,
        reload=reload,
    )


def _budget_of(parts: Parts, directory: Path) -> Budget | None:
    """Return the budget of the rows that are sent: their own, or that of private training."""
    if parts.trainer.draws is not None:
        return SpentTraining(parts.trainer.draws)
    path = Home(directory).privacy_ledger
    return privacy_budget(parts.settings.outgoing, path, note=partial(parts.note, "privacy"))


def _discovery_tasks(
    parts: Parts, discovery: Discovery, directory: Path
) -> dict[str, Callable[[], Awaitable[None]]]:
    settings, host = parts.settings.bootstrap, parts.host
    tasks: dict[str, Callable[[], Awaitable[None]]] = {}
    if settings.file is not None:
        tasks["peers file"] = partial(follow_file, directory / settings.file, discovery)
    if settings.mdns:
        require_zeroconf()
        tasks["local network"] = LocalNetwork(
            peer_id=host.peer_id,
            addresses=lambda: host.addresses,
            task=parts.task.fingerprint,
            discovery=discovery,
        ).run
    return tasks


def _row_seconds(exchange: ExchangeSettings) -> float:
    """In each period a peer starts an exchange and answers another one, so two models may go the same way."""
    return exchange.period / (2 if exchange.mode == "push-pull" else 1)


def _chosen_codecs(parts: Parts, plan: GossipPlan) -> ChosenCodecs:
    return ChosenCodecs(
        numbers=parts.task.layout.shared_size + sum(row.numbers for row in plan.carried),
        row_seconds=_row_seconds(parts.settings.exchange),
        bytes_per_second=parts.host.link.upload_to,
    )


def _joining_of(parts: Parts, plan: GossipPlan, learner: Learner) -> Joining | None:
    """Return the choice of a first model for a newcomer, or a peer that was away for long; None for others.

    It is only for algorithms that train on receipt and carry nothing but models: a model does not determine the
    state of any other.
    """
    exchange, gate, behaviour = parts.settings.exchange, parts.settings.gate, plan.algorithm.behaviour
    is_new = parts.state.age == 0 or parts.away_seconds > AWAY_SECONDS
    if not (exchange.join_models and behaviour.is_plain and is_new):
        return None
    try:
        held_out = NodeData.of_one_node(parts.data.test_inputs, parts.data.test_targets)
        probe = LossProbe(parts.task, held_out, parts.state.nodes.rows[0], samples=_HELD_OUT_SAMPLES)
    except InvalidTask as error:
        logger.warning("initial models cannot be compared on this peer's own samples: %s", error)
        return None
    return Joining(
        learner=learner,
        loss=probe.loss,
        start_loss=probe.initial,
        several=exchange.join_models,
        most_bytes=parts.host.memory.limit,
        period=exchange.period,
        pace=gate.pace if gate.enabled else math.inf,
        away=parts.away_seconds,
        record=parts.record,
    )


def _guard_of(parts: Parts, plan: GossipPlan, *, neighbours: Callable[[], int]) -> Guard | None:
    settings = parts.settings.gate_in_force
    if not settings.enabled:
        return None
    probe = None
    if settings.loss_samples:
        initial = parts.task.initial_row(parts.settings.runtime.number)
        try:
            probe = LossProbe(parts.task, parts.trainer.data, initial, samples=settings.loss_samples)
        except InvalidTask as error:
            logger.warning("the gate works without losses on this peer's own samples: %s", error)
    return Guard(settings, probe, neighbours=neighbours, sharing=plan.sharing)
