"""The parts of a peer that learns in rounds, made from a plan."""

from __future__ import annotations

from pathlib import Path

from gossipfl.errors import SettingError
from gossipfl.peer.driver import Participation, Parts
from gossipfl.peer.rounds.conversation import Conversation
from gossipfl.peer.rounds.exchanging import Exchanger
from gossipfl.peer.rounds.learner import RoundLearner
from gossipfl.peer.rounds.mailbox import Mailbox
from gossipfl.peer.rounds.members import Members
from gossipfl.rounds.plan import RoundsPlan
from gossipfl.rounds.roster import read_roster
from gossipfl.settings import PeerSettings, ViewSettings
from gossipfl.wire import PeerDescriptor

__all__ = ["in_rounds", "roster_descriptors", "roster_view_settings", "take_part_in_rounds"]


def in_rounds(settings: PeerSettings, *, directory: Path, peer_id: str) -> PeerSettings:
    """Settings with the roster read from its file, and the number that it gives to the peer.

    They are recorded, and say all that a replay needs.

    Raises
    ------
    SettingError
        If the roster is wrong, does not have the peer, or contradicts the settings.
    """
    roster = read_roster(settings.rounds, directory=directory)
    number = roster.number_of(peer_id)
    if settings.runtime.number not in (0, number):
        raise SettingError(
            "runtime.number is not the peer's place in the roster",
            expected=number,
            got=settings.runtime.number,
            remedy="Leave runtime.number out: in rounds the roster numbers the peers.",
        )
    entries = [(roster.addresses[member] or (member,))[0] for member in roster.members]
    rounds = settings.rounds.model_copy(update={"roster": entries, "roster_file": None})
    runtime = settings.runtime.model_copy(update={"number": number})
    return settings.model_copy(update={"rounds": rounds, "runtime": runtime})


def roster_descriptors(plan: RoundsPlan) -> list[PeerDescriptor]:
    """Members whose addresses the roster has."""
    return [
        PeerDescriptor(peer_id=peer_id, addresses=addresses, age=1)
        for peer_id, addresses in plan.roster.addresses.items()
        if addresses
    ]


def roster_view_settings(plan: RoundsPlan, settings: ViewSettings) -> ViewSettings:
    """Settings of a view that has room for the whole roster."""
    return settings.model_copy(update={"size": max(settings.size, len(plan.roster))})


def take_part_in_rounds(parts: Parts, plan: RoundsPlan) -> Participation:
    """Put the parts of a peer that learns in rounds together."""
    settings = parts.settings
    rounds = settings.rounds
    mailbox = Mailbox(plan=plan, ahead=rounds.ahead, position=(parts.state.event, 0))
    members = Members(
        roster=plan.roster, number=plan.number, view=parts.view, mailbox=mailbox, patience=rounds.patience
    )
    conversation = Conversation(
        host=parts.host,
        plan=plan,
        task=parts.task.fingerprint,
        incarnation=parts.incarnation,
        mailbox=mailbox,
        members=members,
        view=parts.view,
        view_settings=settings.view,
    )
    learner = RoundLearner(
        state=parts.state,
        plan=plan,
        task=parts.task,
        trainer=parts.trainer,
        incarnation=parts.incarnation,
        settings=rounds,
        mailbox=mailbox,
        members=members,
        exchanger=Exchanger(host=parts.host, mailbox=mailbox, members=members, deadline=rounds.deadline),
        conversation=conversation,
        record=parts.record,
    )
    return Participation(
        learner=learner,
        answer=conversation.answer,
        screen=conversation.screen,
        tasks={"views": conversation.exchange_views, "knocking": conversation.knock},
        described=learner.described,
    )
